/* SPDX-License-Identifier: Apache-2.0 */
/* Content of one stream: see content.h.  No format knowledge, no lock (immutable). */
#include "fs/content.h"

#include "base/range.h"

#include <stdlib.h>
#include <string.h>

int fs_content_read(const struct fs_content *content, struct blkdev *vol, uint64_t off, void *buf,
                    size_t len, size_t *out_len, struct vd_err *err)
{
    size_t n, from_runs;
    int rc;

    if (off >= content->size) {
        *out_len = 0;
        return 0;
    }
    n = (size_t)vd_min(len, content->size - off);
    if (content->resident) {
        memcpy(buf, content->resident + off, n);
        *out_len = n;
        return 0;
    }
    from_runs = off < content->init ? (size_t)vd_min(n, content->init - off) : 0;
    rc = fs_runs_read(&content->runs, vol, off, buf, from_runs, err);
    if (rc)
        return rc;
    memset((uint8_t *)buf + from_runs, 0, n - from_runs);
    *out_len = n;
    return 0;
}

size_t fs_content_cost(const struct fs_content *content)
{
    return sizeof(*content) + content->runs.cap * sizeof(struct fs_run) +
           (content->resident ? (size_t)content->size : 0);
}

void fs_content_free(void *content)
{
    struct fs_content *c = content;

    if (!c)
        return;
    fs_runs_clear(&c->runs);
    free(c->resident);
    free(c);
}
