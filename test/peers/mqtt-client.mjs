// The npm MQTT client as a device and as a subscriber.
//   node mqtt-client.mjs <mqtt url> <protocol version: 4 | 5> <topic> <messages>
// It subscribes to the topic, publishes that many messages at QoS 0, 1 and 2 in
// turn without waiting for each other, and prints one line of JSON: how many
// were acknowledged, the QoS that the subscription was granted, and the payloads
// that came back, in their order.
import mqtt from 'mqtt'

const [url, version, topic, messages] = process.argv.slice(2)
const client = await mqtt.connectAsync(url, {
  protocolVersion: Number(version), clientId: 'P-npm', reconnectPeriod: 0, connectTimeout: 5000,
})
const received = []
const all = new Promise((resolve) => {
  client.on('message', (_, payload) => {
    received.push(payload.toString())
    if (received.length === Number(messages)) resolve()
  })
})
const [{ qos: granted }] = await client.subscribeAsync(topic, { qos: 1 })
const acks = await Promise.all(
  Array.from({ length: Number(messages) }, (_, n) => client.publishAsync(topic, String(n), { qos: n % 3 })),
)
await Promise.race([all, new Promise((resolve) => setTimeout(resolve, 5000).unref())])
await client.endAsync()
console.log(JSON.stringify({ acked: acks.length, granted, received }))
