"""Reads `go test -json` and prints what go test would, counting the tests.

    go test -json ./... | tally.py COUNTS FAILURES [--complete]

Printed are a line per package, the output of what failed, and every skipped test
with its reason, so that nothing is left out unseen. One line "passed failed
skipped" is appended to the file COUNTS, and what each failed test said first and
last to the file FAILURES. The exit code is 1 if anything failed; with --complete also
if a test was LEFT OUT, which is what tests say that lack something they need.
"""

import collections
import json
import re
import sys


def main():
    counts_path, failures_path, complete = sys.argv[1], sys.argv[2], "--complete" in sys.argv[3:]
    output = collections.defaultdict(list)  # (package, test) to its lines so far
    skipped, failures = [], []
    counts = collections.Counter()
    broken = False  # a package failed: to build, or with or without a failed test
    for line in sys.stdin:
        try:
            event = json.loads(line)
        except ValueError:
            print(line, end="", flush=True)  # go itself, not a test
            continue
        action, test = event["Action"], event.get("Test")
        key = event.get("Package", ""), test
        if action == "build-output":
            print(event["Output"], end="", flush=True)
        elif action == "output":
            text = event["Output"]
            if test is None and text != "PASS\n" and not text.startswith("coverage:"):
                print(text, end="", flush=True)
            elif test is not None:
                output[key].append(text)
        elif action in ("pass", "fail", "skip"):
            lines = output.pop(key, [])
            if test is None:
                if action == "fail":
                    broken = True
                    # A panic or a time-out ends tests without a verdict.
                    for other in [k for k in output if k[0] == key[0]]:
                        failures.append((*other, output[other]))
                        print("".join(output.pop(other)), end="", flush=True)
                continue
            counts[action] += 1
            if action == "fail":
                print("".join(lines), end="", flush=True)
                failures.append((*key, lines))
            elif action == "skip":
                said = [text.strip() for text in lines if not text.lstrip().startswith(("=== ", "--- "))]
                skipped.append((*key, " ".join(said)))
    for package, test, why in skipped:
        print(f"SKIP {package}.{test}: {why}")
    left_out = any("LEFT OUT" in why for _, _, why in skipped)
    with open(counts_path, "a", encoding="utf-8") as f:
        print(counts["pass"], counts["fail"], counts["skip"], file=f)
    with open(failures_path, "a", encoding="utf-8") as f:
        for package, test, lines in failures:
            print(f"{package}.{test}:", file=f)
            # What was wrong is said first, then the logs of those that took part.
            messages = [i for i, line in enumerate(lines) if re.match(r"\s+\w+\.go:\d+: ", line)]
            last = len(lines) - 10
            for line in [lines[i] for i in messages[:10] if i < last] + lines[max(last, 0) :]:
                print("    " + line.rstrip()[:400], file=f)
    sys.exit(1 if broken or counts["fail"] or (complete and left_out) else 0)


if __name__ == "__main__":
    main()
