#!/bin/sh
# Submit the night's list. INPUT and OUT are the timer's; the night is that of the machine's clock.
set -eu
exec batchq submit "$INPUT" --prompt 'Answer in one sentence: {question}' \
    --idempotency-key "nightly-$(date +%F)" --all-or-nothing -o "$OUT"
