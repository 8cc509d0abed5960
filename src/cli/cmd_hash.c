/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdiskctl hash: SHA-256 of every input file and of the reconstructed disk.
 *
 * Reading and hashing run side by side (copy.h).  Lines are in the form of sha256sum(1) ("HASH
 * NAME"), so `sha256sum -c` checks the inputs; the disk's line names it disk.img.
 */
#include "cli/command.h"
#include "cli/copy.h"
#include "cli/digest.h"
#include "cli/progress.h"
#include "image/inputs.h"
#include "vdiskfs/exit_codes.h"

#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static const char usage[] =
    "Usage: vdiskctl hash [--json] [--inputs-only|--disk-only] [-o OPTIONS] IMAGE\n"
    "SHA-256 of every input file of the chain and of the reconstructed disk (disk.img).\n"
    "  --inputs-only   the files only\n"
    "  --disk-only     the reconstructed disk only\n"
    "  --json          as JSON\n"
    "  -o OPTIONS      options of vdiskfs(1) for opening: chain=, parent_dir=, ...\n";

struct hash_job {
    bool json, inputs, disk;
    json_t *list; /* with json */
};

struct hashing {
    struct digest *digest;
    struct progress *progress;
    uint64_t before; /* bytes of the files before this one */
};

static int hash_chunk(void *ctx, const struct copy_chunk *chunk, struct vd_err *err)
{
    const struct hashing *h = ctx;

    (void)err;
    if (chunk->bytes)
        digest_add(h->digest, chunk->bytes, (size_t)chunk->len);
    else
        digest_add_zeros(h->digest, chunk->len);
    return 0;
}

static int show_progress(void *ctx, uint64_t done, struct vd_err *err)
{
    const struct hashing *h = ctx;

    (void)err;
    progress_set(h->progress, h->before + done);
    return 0;
}

static int hash_device(struct blkdev *dev, struct progress *progress, char hex[DIGEST_HEX_MAX],
                       struct vd_err *err)
{
    struct hashing h = {.progress = progress, .before = progress->done};
    const struct copy_options options = {.tick = show_progress, .ctx = &h};
    const struct copy_sink sink = {hash_chunk, &h};
    int rc = digest_new("sha256", &h.digest, err);

    if (rc == 0)
        rc = copy_run(dev, 0, dev->size, &options, &sink, 1, err);
    if (rc == 0)
        digest_so_far(h.digest, hex);
    digest_free(h.digest);
    return rc;
}

/* ---- output ---- */

static int emit(struct hash_job *job, const char *role, const char *name, uint64_t size,
                const char *hex, struct vd_err *err)
{
    json_t *row;

    if (!job->json) {
        (void)printf("%s  %s\n", hex, name);
        return 0;
    }
    row = json_pack("{s:s, s:s, s:I, s:s}", "role", role, "name", name, "size", (json_int_t)size,
                    "sha256", hex);
    if (!row || json_array_append_new(job->list, row))
        return vd_fail(err, VD_ENOMEM, "out of memory");
    return 0;
}

static int hash_one(struct hash_job *job, struct blkdev *dev, const char *role, const char *name,
                    struct progress *progress, struct vd_err *err)
{
    char hex[DIGEST_HEX_MAX];
    int rc = hash_device(dev, progress, hex, err);

    return rc ? rc : emit(job, role, name, dev->size, hex, err);
}

static int hash_all(const struct vd_case *c, const struct chain_inputs *inputs,
                    struct hash_job *job, struct vd_err *err)
{
    struct progress progress;
    uint64_t total = job->disk ? c->point->disk->size : 0;
    size_t i;
    int rc = 0;

    for (i = 0; job->inputs && i < inputs->n; i++)
        total += inputs->v[i]->size;
    progress_start(&progress, 0, total);
    for (i = 0; job->inputs && i < inputs->n && rc == 0; i++)
        rc = hash_one(job, inputs->v[i], "input", inputs->v[i]->label, &progress, err);
    if (job->disk && rc == 0)
        rc = hash_one(job, c->point->disk, "disk", "disk.img", &progress, err);
    progress_end(&progress);
    return rc;
}

static int hash_case(const struct vd_case *c, const struct case_context *context, void *arg,
                     struct vd_err *err)
{
    struct hash_job *job = arg;
    struct chain_inputs inputs = {0};
    char *text;
    int rc;

    (void)context;
    job->list = json_array();
    if (!job->list)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    rc = chain_inputs_collect(c->chain, &inputs, err);
    if (rc == 0)
        rc = hash_all(c, &inputs, job, err);
    if (rc == 0 && job->json) {
        text = json_dumps(job->list, JSON_INDENT(2));
        if (text)
            (void)puts(text);
        else
            rc = vd_fail(err, VD_ENOMEM, "out of memory");
        free(text);
    }
    chain_inputs_clear(&inputs);
    json_decref(job->list);
    return rc;
}

int cmd_hash(int argc, char **argv)
{
    static const struct option long_options[] = {{"json", no_argument, NULL, 'j'},
                                                 {"inputs-only", no_argument, NULL, 'i'},
                                                 {"disk-only", no_argument, NULL, 'd'},
                                                 {"help", no_argument, NULL, 'h'},
                                                 {0}};
    struct vd_err err = VD_ERR_INIT;
    struct options options = {0};
    struct hash_job job = {.inputs = true, .disk = true};
    int c, rc = 0, code;

    while (rc == 0 && (c = getopt_long(argc, argv, "o:h", long_options, NULL)) != -1) {
        if (c == 'h') {
            (void)fputs(usage, stdout);
            options_clear(&options);
            return VD_EXIT_OK;
        }
        job.json |= c == 'j';
        job.disk &= c != 'i';
        job.inputs &= c != 'd';
        if (c == '?')
            rc = vd_fail(&err, VD_EUSAGE, "see vdiskctl hash --help");
        if (c == 'o')
            rc = options_parse(&options, optarg, OPTION_OPEN, &err);
    }
    if (rc == 0 && !job.inputs && !job.disk)
        rc = vd_fail(&err, VD_EUSAGE, "--inputs-only and --disk-only exclude each other");
    if (rc == 0 && optind + 1 != argc)
        rc = vd_fail(&err, VD_EUSAGE, "one IMAGE is needed; see vdiskctl hash --help");
    code = rc ? command_error("vdiskctl hash", rc, &err)
              : command_with_case("vdiskctl hash", argv[optind], &options, true, hash_case, &job);
    options_clear(&options);
    return code;
}
