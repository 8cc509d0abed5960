/* SPDX-License-Identifier: Apache-2.0 */
/* Filter options of `audit show` and `audit export`, for getopt_long; private to these verbs. */
#ifndef VD_CLI_AUDIT_FILTER_ARGS_H
#define VD_CLI_AUDIT_FILTER_ARGS_H

#include "audit/show_filter.h"

/* Values of the options; outside of the letters. */
enum audit_filter_option {
    AUDIT_ARG_FIRST = 256,
    AUDIT_ARG_OP = AUDIT_ARG_FIRST,
    AUDIT_ARG_PATH,
    AUDIT_ARG_MATCH,
    AUDIT_ARG_PID,
    AUDIT_ARG_COMM,
    AUDIT_ARG_EXE,
    AUDIT_ARG_SINCE,
    AUDIT_ARG_UNTIL,
    AUDIT_ARG_ERRORS
};

/* In this order. */
#define AUDIT_FILTER_NAMES "op", "path", "match", "pid", "comm", "exe", "since", "until", "errors"

/* Rows for the table of getopt_long. */
#define AUDIT_FILTER_OPTIONS                                                                       \
    {"op", required_argument, NULL, AUDIT_ARG_OP},                                                 \
        {"path", required_argument, NULL, AUDIT_ARG_PATH},                                         \
        {"match", required_argument, NULL, AUDIT_ARG_MATCH},                                       \
        {"pid", required_argument, NULL, AUDIT_ARG_PID},                                           \
        {"comm", required_argument, NULL, AUDIT_ARG_COMM},                                         \
        {"exe", required_argument, NULL, AUDIT_ARG_EXE},                                           \
        {"since", required_argument, NULL, AUDIT_ARG_SINCE},                                       \
        {"until", required_argument, NULL, AUDIT_ARG_UNTIL},                                       \
    {                                                                                              \
        "errors", no_argument, NULL, AUDIT_ARG_ERRORS                                              \
    }

/* Takes one of them, with its argument (borrowed); 0, or VD_EXIT_USAGE with the message printed. */
int audit_filter_arg(int option, const char *text, struct audit_filter *out);

#endif
