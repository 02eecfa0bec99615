package web_test

import (
	"testing"
	"time"

	"github.com/twinlog/twinlog/web"
)

// codeMirror types into the n-th editor of the IDE: 0 is the query's.
const codeMirror = `((n, text) => document.querySelectorAll('.CodeMirror')[n].CodeMirror.setValue(text))`

// TestIDEInABrowser is the console of a binary that was built with Node.
func TestIDEInABrowser(t *testing.T) {
	if !web.Built() {
		t.Skip("this binary has no IDE: run make web, which needs Node")
	}
	b := newBrowser(t)
	f, origin := serve(t, web.Handler())
	b.open(origin + "/")
	b.until("the IDE is there with the first example", `document.querySelector('.graphiql-query-editor .CodeMirror').CodeMirror.getValue().includes('plant')`)
	b.until("each example has a tab", `document.querySelectorAll('.graphiql-tab').length >= 3`)
	b.shot("ide-start")
	b.until("the example that needs an asset has the top of the plant", `localStorage.getItem('twinlog:o:graphiql:tabState').includes('the-top')`)

	b.eval(codeMirror + `(0, '{ answer pressure }')`)
	b.eval(`document.querySelector('.graphiql-execute-button').click()`)
	b.until("the answer is shown", `document.querySelector('.result-window .CodeMirror').CodeMirror.getValue().includes('forty-two')`)
	if got := f.operator.Load(); got != "" {
		t.Errorf("nobody has said who asks, and the operator came as %q", got)
	}
	b.shot("ide-answer")

	b.eval(`[...document.querySelectorAll('.graphiql-editor-tools button')].find((x) => x.innerText === 'Headers').click()`)
	const headers = `[...document.querySelectorAll('.graphiql-editor-tool .CodeMirror')].map((x) => x.CodeMirror).find((x) => x.getValue().includes('X-Twinlog-Operator'))`
	b.until("the headers editor knows the operator's header", headers)
	b.eval(headers + `.setValue('{"X-Twinlog-Operator": "Jürgen 李"}')`)
	for end := time.Now().Add(10 * time.Second); f.operator.Load() == "" && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		b.eval(`document.querySelector('.graphiql-execute-button').click()`)
	}
	if got := f.operator.Load(); got != "J%C3%BCrgen%20%E6%9D%8E" {
		t.Errorf("the operator of the headers editor came as %q", got)
	}
	b.shot("ide-headers")

	b.eval(codeMirror + `(0, 'subscription Frames { values { kind frame } }')`)
	b.until("the editor has read the operation", `document.querySelector('.graphiql-tab').innerText.includes('Frames')`)
	b.eval(`document.querySelector('.graphiql-execute-button').click()`)
	b.until("frames arrive over the socket", `/"frame": ([5-9]|\d\d)/.test(document.querySelector('.result-window .CodeMirror').CodeMirror.getValue())`)
	b.shot("ide-live")
	b.eval(`document.querySelector('.graphiql-execute-button').click()`)
	for end := time.Now().Add(5 * time.Second); f.stopped.Load() == 0 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if f.stopped.Load() == 0 {
		t.Error("the server was not told that the subscription is over")
	}
	b.stayedHome(origin)
}
