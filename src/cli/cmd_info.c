/* SPDX-License-Identifier: Apache-2.0 */
/* vdiskctl info: what an image is, without a mount. */
#include "cli/command.h"
#include "vdiskfs/exit_codes.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char usage[] =
    "Usage: vdiskctl info [--json] [-o OPTIONS] IMAGE\n"
    "Shows what was opened and found: the chain as a tree and what each file gives to the\n"
    "disk, its checks, the snapshots of the virtual machine, partitions, file systems,\n"
    "warnings.\n"
    "  --json        as JSON (the same text as info.json of a mount)\n"
    "  -o OPTIONS    options of vdiskfs(1) for opening: chain=, parent_dir=, ...\n";

/* What each member gives is worth this much waiting; honest chains take a fraction of it. */
#define SHARE_MAX_MS 5000

static int print_info(const struct vd_case *c, const struct case_context *context, void *arg,
                      struct vd_err *err)
{
    const bool *json = arg;
    struct case_context more = *context;
    struct contribution *share = NULL;
    struct vd_err why = VD_ERR_INIT;
    char *text;

    if (chain_contributions(c->chain, c->point->member, SHARE_MAX_MS, &share, &why))
        more.share_missing = why.msg;
    more.share = share;
    text = *json ? case_info_json(c->point, &more) : case_info_text(c->point, &more);
    free(share);
    if (!text)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    (void)fputs(text, stdout);
    free(text);
    return 0;
}

int cmd_info(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};
    struct vd_err err = VD_ERR_INIT;
    struct options options = {0};
    bool json = false;
    int c, rc = 0, code;

    while (rc == 0 && (c = getopt_long(argc, argv, "o:h", long_options, NULL)) != -1) {
        if (c == 'h') {
            (void)fputs(usage, stdout);
            options_clear(&options);
            return VD_EXIT_OK;
        }
        if (c == '?')
            rc = vd_fail(&err, VD_EUSAGE, "see vdiskctl info --help");
        json |= c == 'j';
        if (c == 'o')
            rc = options_parse(&options, optarg, OPTION_OPEN, &err);
    }
    if (rc == 0 && optind + 1 != argc)
        rc = vd_fail(&err, VD_EUSAGE, "one IMAGE is needed; see vdiskctl info --help");
    code =
        rc ? command_error("vdiskctl info", rc, &err)
           : command_with_case("vdiskctl info", argv[optind], &options, false, print_info, &json);
    options_clear(&options);
    return code;
}
