/* SPDX-License-Identifier: Apache-2.0 */
/* main() of the trap programs: `trap_vmdk` runs all tests, `trap_vmdk NAME` the one of that name. */
#ifndef VD_TRAPS_H
#define VD_TRAPS_H

#include "testlib.h"

#include <stdio.h>
#include <string.h>

/* A name that no test has is a failure: cmocka's own filter would pass with nothing run. */
static inline int traps_run(int argc, char **argv, const struct CMUnitTest *tests, size_t n)
{
    size_t i;

    for (i = 0; argc > 1 && i < n; i++)
        if (strcmp(tests[i].name, argv[1]) == 0)
            return _cmocka_run_group_tests(argv[1], &tests[i], 1, NULL, NULL) != 0;
    if (argc > 1) {
        (void)fprintf(stderr, "no test is named %s\n", argv[1]);
        return 2;
    }
    return _cmocka_run_group_tests("traps", tests, n, NULL, NULL) != 0;
}

#endif
