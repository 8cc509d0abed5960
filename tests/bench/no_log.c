/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the benchmark alone: the program with requests that go unrecorded, so that what recording costs
 * can be measured (scripts/bench-audit).  The linker sends the calls of src/fuse/log.h here.  Only
 * this program of the build folder has it; the one that is installed has no way to go without its log.
 */
#include "fuse/log.h"

bool __wrap_log_put(struct log *log, const struct who_request *sender,
                    const struct log_event *event);
bool __wrap_log_unreadable(struct log *log, const struct who_request *sender,
                           const struct log_event *event, const char *message);

bool __wrap_log_put(struct log *log, const struct who_request *sender,
                    const struct log_event *event)
{
    (void)sender;
    (void)event;
    return log_ready(log);
}

bool __wrap_log_unreadable(struct log *log, const struct who_request *sender,
                           const struct log_event *event, const char *message)
{
    (void)sender;
    (void)event;
    (void)message;
    return log_ready(log);
}
