// Package tap writes TAP version 13 to standard output, with the calls that the validation suite
// makes of github.com/mndrix/tap-go, which Debian doesn't package.
//
// It must not judge anything: counting and comparing is the work of ../evaluate.awk, which relies
// on every document starting with a version line and on every diagnostic block being one JSON object.
package tap

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// T is one TAP document. Its zero value isn't usable: call New.
type T struct {
	w    io.Writer
	next int
	todo string
}

// New returns an empty document on standard output.
func New() *T {
	return &T{w: os.Stdout, next: 1}
}

// Header opens the document, with a plan if the number of assertions is known (above 0).
func (t *T) Header(assertions int) {
	t.line("TAP version 13")
	if assertions > 0 {
		t.plan(assertions)
	}
}

// AutoPlan closes a document that was opened without a plan.
func (t *T) AutoPlan() {
	t.plan(t.next - 1)
}

// Ok writes one assertion.
func (t *T) Ok(passed bool, description string) {
	verdict := "ok"
	if !passed {
		verdict = "not ok"
	}
	t.assertion(verdict, description, "")
}

// Pass writes an assertion that held.
func (t *T) Pass(description string) {
	t.Ok(true, description)
}

// Fail writes an assertion that didn't hold.
func (t *T) Fail(description string) {
	t.Ok(false, description)
}

// Skip writes count assertions that weren't tried, with the reason.
func (t *T) Skip(count int, reason string) {
	for i := 0; i < count; i++ {
		t.assertion("ok", "", " # SKIP "+oneLine(reason))
	}
}

// Todo marks the next assertion as one that isn't expected to hold yet.
func (t *T) Todo() *T {
	t.todo = " # TODO"
	return t
}

// Diagnostic writes a comment, one line of it per line of the message.
func (t *T) Diagnostic(message string) {
	for _, part := range strings.Split(strings.TrimRight(message, "\n"), "\n") {
		t.line("# " + part)
	}
}

// Diagnosticf is Diagnostic with a format.
func (t *T) Diagnosticf(format string, args ...interface{}) {
	t.Diagnostic(fmt.Sprintf(format, args...))
}

// YAML writes a diagnostic block. JSON is YAML, and needs no package beside Go's own.
func (t *T) YAML(value interface{}) error {
	var block bytes.Buffer
	encoder := json.NewEncoder(&block)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("  ", "  ")
	if err := encoder.Encode(value); err != nil {
		return err
	}
	t.line("  ---\n  " + strings.TrimRight(block.String(), "\n") + "\n  ...")
	return nil
}

func (t *T) plan(assertions int) {
	t.line(fmt.Sprintf("1..%d", assertions))
}

// assertion writes one line whatever the description holds: a line break in it, as in the
// messages of runtimes, would otherwise read as further output.
func (t *T) assertion(verdict, description, directive string) {
	text := fmt.Sprintf("%s %d", verdict, t.next)
	if description != "" {
		text += " - " + strings.ReplaceAll(oneLine(description), "#", `\#`)
	}
	t.line(text + directive + t.todo)
	t.next++
	t.todo = ""
}

func (t *T) line(text string) {
	fmt.Fprintln(t.w, text)
}

func oneLine(text string) string {
	return strings.Join(strings.Fields(text), " ")
}
