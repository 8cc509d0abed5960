/* SPDX-License-Identifier: Apache-2.0 */
/* Texts of /proc/PID/stat (first byte 0), statm (2) and status, which hold what the process calls itself. */
#include "proc/identity.h"
#include "proc/mark.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vd_err err = VD_ERR_INIT;
    struct proc_status status = {0};
    uint64_t start, pages;
    char *text;
    int rc = 0;

    if (size < 1)
        return 0;
    text = malloc(size); /* as large as the text, so that one byte too far is seen */
    if (!text)
        return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\n';
    if (data[0] == 0)
        rc = proc_stat_terminal(text, size, &start, &err)
                 ? 0
                 : proc_stat_decode(text, size, &start, &err);
    else if (data[0] == 2) /* statm: any number, or none */
        (void)proc_statm_decode(text, size, &start, &pages);
    else
        rc = proc_status_decode(text, size, &status, &err);
    if (rc ? !err.msg[0] : data[0] && data[0] != 2 && !status.tgid)
        abort();
    free(text);
    return 0;
}
