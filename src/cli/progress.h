/* SPDX-License-Identifier: Apache-2.0 */
/* One line of progress on standard error, when that is a terminal. */
#ifndef VD_CLI_PROGRESS_H
#define VD_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct progress {
    bool on;
    uint64_t done, total, start_at;
    struct timespec start, last;
};

/* `done` of `total` bytes are behind us already (they do not count for the rate). */
void progress_start(struct progress *p, uint64_t done, uint64_t total);
/* At most ten times a second something is drawn. */
void progress_set(struct progress *p, uint64_t done);
/* A word instead of a bar: "member 3 of 8: x.vmdk". */
void progress_say(const struct progress *p, const char *text);
/* Clears the line. */
void progress_end(const struct progress *p);

#endif
