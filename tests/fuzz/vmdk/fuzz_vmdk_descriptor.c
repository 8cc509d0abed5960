/* SPDX-License-Identifier: Apache-2.0 */
/* The descriptor decoder and its probe, on any bytes. */
#include "image/vmdk/descriptor.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct vmdk_descriptor *d)
{
    size_t i;

    for (i = 0; i < d->n_extents; i++) {
        const struct vmdk_extent_line *line = &d->extents[i];

        if (line->sectors == 0 || !vmdk_extent_type_name(line->type))
            abort();
        if (line->path && strchr(vmdk_bare_name(line->path, d->encoding), '/') &&
            d->encoding[0] == '\0')
            abort();
    }
    (void)vmdk_create_type_name(d->create_type);
    if (d->parent_hint)
        (void)vmdk_bare_name(d->parent_hint, d->encoding);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vmdk_descriptor d;
    struct vd_facts facts = VD_FACTS_INIT;
    struct vd_err err = VD_ERR_INIT;

    (void)vmdk_descriptor_probe(data, size, size);
    if (vmdk_descriptor_decode((const char *)data, size, &d, &facts, &err) == 0) {
        check(&d);
        vmdk_descriptor_clear(&d);
    }
    vd_facts_clear(&facts);
    return 0;
}
