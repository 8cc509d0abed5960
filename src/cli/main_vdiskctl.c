/* SPDX-License-Identifier: Apache-2.0 */
/* vdiskctl VERB: everything that needs no mount.  One row per verb. */
#include "base/version.h"
#include "cli/command.h"
#include "cli/help.h"
#include "proc/proc.h"
#include "vdiskfs/exit_codes.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *verb;
    int (*run)(int argc, char **argv);
} verb_table[] = {
    {"info", cmd_info},     {"hash", cmd_hash},   {"check", cmd_check},
    {"export", cmd_export}, {"audit", cmd_audit}, {"umount", cmd_umount},
};

static int no_verb(const char *verb)
{
    if (strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0 || strcmp(verb, "help") == 0) {
        help_vdiskctl(stdout);
        return VD_EXIT_OK;
    }
    if (strcmp(verb, "--man") == 0) {
        help_man_vdiskctl(stdout);
        return VD_EXIT_OK;
    }
    if (strcmp(verb, "--version") == 0 || strcmp(verb, "-V") == 0) {
        (void)printf("vdiskctl %s (%s)\n%s\n", VD_VERSION, VD_BUILD, case_library_versions());
        return VD_EXIT_OK;
    }
    (void)fprintf(stderr, "vdiskctl: unknown verb \"%s\"; a bare vdiskctl lists them\n", verb);
    return VD_EXIT_USAGE;
}

/* getopt(3) begins its messages with argv[0]. */
static int run_verb(size_t i, int argc, char **argv)
{
    char name[32];

    (void)snprintf(name, sizeof(name), "vdiskctl %s", verb_table[i].verb);
    argv[0] = name;
    return verb_table[i].run(argc, argv);
}

static int run(int argc, char **argv)
{
    size_t i;

    if (argc < 2) {
        help_vdiskctl(stdout);
        return VD_EXIT_OK;
    }
    for (i = 0; i < sizeof(verb_table) / sizeof(verb_table[0]); i++)
        if (strcmp(argv[1], verb_table[i].verb) == 0)
            return run_verb(i, argc - 1, argv + 1);
    return no_verb(argv[1]);
}

int main(int argc, char **argv)
{
    struct vd_err err = VD_ERR_INIT;
    int rc = proc_standard_fds(&err);

    if (rc)
        return command_error("vdiskctl", rc, &err);
    return command_end("vdiskctl", run(argc, argv));
}
