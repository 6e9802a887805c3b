# Reads what one test of the validation suite printed and writes one line per assertion:
# verdict (ok, not ok, skip), tab, what it was about. Judges nothing against expectations.
#
# Some tests report a failure in a way that TAP doesn't count; these become "not ok" lines here:
#   a document without a plan, or with a plan that its assertions don't meet;
#   a diagnostic block with an "error" that belongs to no assertion (all that hook tests print);
#   runtimetest, run inside a container, ending before its plan, with its output in a block.

function emit(verdict, text) {
    gsub(/\t/, " ", text)
    print verdict "\t" text
}

# The value of a JSON string on a line `"key": "value"[,]`, its line breaks real ones.
function json_string(line) {
    sub(/^[ ]*"[a-z]+": "/, "", line)
    sub(/",?$/, "", line)
    gsub(/\\\\/, "\001", line)
    gsub(/\\n/, "\n", line)
    gsub(/\\t/, " ", line)
    gsub(/\\"/, "\"", line)
    gsub(/\001/, "\\", line)
    return line
}

function one_line(text) {
    gsub(/[ \n]+/, " ", text)
    sub(/^ /, "", text)
    sub(/ $/, "", text)
    return text
}

# Writes the last assertion, which waits for a diagnostic block that may say why it failed.
function settle() {
    if (verdict != "") emit(verdict, text)
    verdict = ""
}

function document_ends() {
    settle()
    if (!in_document) return
    if (plan == "") emit("not ok", "no plan: the test ended early, after " assertions " assertions")
    else if (plan != assertions) emit("not ok", "a plan of " plan " but " assertions " assertions")
    in_document = 0
}

function inner_run(stdout, stderr,    lines, n, i, planned) {
    n = split(stdout, lines, "\n")
    for (i = 1; i <= n; i++) {
        if (lines[i] ~ /^1\.\.[0-9]+$/) planned = 1
        if (lines[i] ~ /^not ok / && lines[i] !~ / # TODO/) emit("not ok", "inside: " substr(lines[i], 8))
    }
    if (!planned) emit("not ok", "inside: runtimetest ended early: " one_line(stderr))
}

function block_ends() {
    in_block = 0
    if (error != "" && orphan) emit("not ok", "complaint: " one_line(error))
    else if (error != "" && verdict == "not ok") text = text " [" one_line(error ": " stderr) "]"
    settle()
    if (has_stdout) inner_run(stdout, stderr)
    orphan = 1
}

in_block {
    if ($0 == "  ...") block_ends()
    else if ($0 ~ /^    "error": "/) error = json_string($0)
    else if ($0 ~ /^    "stderr": "/) stderr = json_string($0)
    else if ($0 ~ /^    "stdout": "/) { stdout = json_string($0); has_stdout = 1 }
    next
}
$0 == "  ---" {
    in_block = 1
    has_stdout = 0
    error = stderr = stdout = ""
    next
}
/^TAP version/ {
    document_ends()
    in_document = orphan = 1
    plan = ""
    assertions = 0
    next
}
/^1\.\.[0-9]+$/ { plan = substr($0, 4) + 0; next }
/^(not )?ok [0-9]+/ {
    settle()
    assertions++
    orphan = 0
    text = $0
    sub(/^(not )?ok /, "", text)
    verdict = text ~ / # (SKIP|TODO)/ ? "skip" : /^ok/ ? "ok" : "not ok"
    next
}
END {
    if (in_block) emit("not ok", "output ends inside a diagnostic block")
    document_ends()
}
