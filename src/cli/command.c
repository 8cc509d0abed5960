/* SPDX-License-Identifier: Apache-2.0 */
/* What the subcommands share: the error line, and running in a worker with a case opened. */
#include "cli/command.h"

#include "cli/image_path.h"
#include "fs/fs.h"
#include "proc/proc.h"

#include <stdio.h>

int command_error(const char *program, int rc, const struct vd_err *err)
{
    (void)fflush(stdout);
    (void)fprintf(stderr, "%s: %s\n", program, err->msg[0] ? err->msg : vd_class_name(rc));
    return vd_class_exit(rc);
}

struct case_job {
    const struct options *options;
    const struct image_path *path;
    bool disk_only;
    command_case_fn *fn;
    void *arg;
};

static int case_worker(struct proc_channel *channel, void *arg, struct vd_err *err)
{
    const struct case_job *job = arg;
    const struct case_options options = {
        .chain = {.members = (const char *const *)job->options->chain,
                  .n_members = job->options->n_chain,
                  .unverified = job->options->unverified_chain},
        .disk_only = job->disk_only,
    };
    const struct case_context context = {
        .option = (const char *const *)job->options->given,
        .sandbox = proc_channel_sandbox(channel),
    };
    struct blk_source source;
    struct vd_case *c = NULL;
    int rc;

    fs_init(); /* while there is one thread */
    proc_channel_source(channel, &source);
    rc = case_open(&source, job->path->name, &options, &c, err);
    if (rc == 0)
        rc = job->fn(c, &context, job->arg, err);
    if (rc == 0 && fflush(stdout) != 0)
        rc = vd_fail(err, VD_EIO, "cannot write the output");
    case_free(c);
    return rc;
}

int command_with_case(const char *program, const char *image, const struct options *options,
                      bool disk_only, command_case_fn *fn, void *arg)
{
    struct vd_err err = VD_ERR_INIT;
    struct image_path path;
    struct case_job job = {options, &path, disk_only, fn, arg};
    bool died = false;
    int rc = image_path_resolve(image, options, &path, &err);

    if (rc == 0) {
        const struct proc_config config = {
            .dirs = path.dirs,
            .n_dirs = path.n_dirs,
            .block_device = path.is_block ? path.name : NULL,
            .sandbox = options->sandbox,
            .worker = case_worker,
            .arg = &job,
        };

        rc = proc_run(&config, &died, &err);
    }
    image_path_clear(&path);
    return rc ? command_error(program, rc, &err) : 0;
}
