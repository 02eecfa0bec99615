// Reads series from stdin, one JSON object a line, and answers each with the
// aggregates of node-opcua-aggregates, one JSON object a line:
//
//   {"samples":[[ms, value, statusCode], ...], "from":ms, "to":ms, "interval":ms,
//    "treatUncertainAsBad":bool, "functions":["Average", ...]}
//   {"Average":[[value or null, statusCode], ...], ...}
import { createInterface } from "node:readline";
import aggregates from "node-opcua-aggregates";
import dm from "node-opcua-data-model";
import dv from "node-opcua-data-value";
import hist from "node-opcua-service-history";
import sc from "node-opcua-status-code";
import va from "node-opcua-variant";

const fixed = (value) => ({ readValue: () => ({ value: { value } }) });

// variable is as much of a UAVariable as the functions look at: a node class, a
// history and its configuration.
function variable(q) {
  const dataValues = q.samples.map(([ms, value, status]) => new dv.DataValue({
    sourceTimestamp: new Date(ms),
    statusCode: sc.getStatusCodeFromCode(status),
    value: { dataType: va.DataType.Double, value },
  }));
  return {
    nodeClass: dm.NodeClass.Variable,
    $historicalDataConfiguration: {
      stepped: fixed(false),
      aggregateConfiguration: {
        percentDataBad: fixed(100),
        percentDataGood: fixed(100),
        treatUncertainAsBad: fixed(q.treatUncertainAsBad),
        useSlopedExtrapolation: fixed(false),
      },
    },
    historyRead: (context, details, range, encoding, point, callback) =>
      callback(null, new hist.HistoryReadResult({ historyData: new hist.HistoryData({ dataValues }) })),
  };
}

const compute = (node, name, q) => new Promise((resolve, reject) =>
  aggregates[`get${name}Data`](node, q.interval, new Date(q.from), new Date(q.to), (err, values) =>
    err ? reject(err) : resolve(values.map((v) => [v.value?.value ?? null, v.statusCode.value]))));

for await (const line of createInterface({ input: process.stdin })) {
  const q = JSON.parse(line);
  const node = variable(q);
  const answer = {};
  for (const name of q.functions) {
    answer[name] = await compute(node, name, q);
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
