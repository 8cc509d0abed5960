/* SPDX-License-Identifier: Apache-2.0 */
/* A line of /proc/self/mountinfo; other users choose the names in it. */
#include "fuse/mountinfo.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vd_err err = VD_ERR_INIT;
    struct mountinfo m;
    char *line = malloc(size + 1);

    if (!line)
        return 0;
    memcpy(line, data, size);
    line[size] = '\0';
    if (mountinfo_decode(line, &m, &err) == 0) {
        if (!m.path || !m.options || !m.fstype || !m.super_options)
            abort();
        mountinfo_clear(&m);
    } else if (!err.msg[0]) {
        abort();
    }
    free(line);
    return 0;
}
