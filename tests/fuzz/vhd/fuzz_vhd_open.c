/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VHD file from bytes: open, map, read.  The first byte is a set of flags, the rest the file:
 * 1 = put right checksums into the footer at the end, 2 = into its copy at the start, 4 = into the
 * dynamic header at 512.
 */
#include "../../evil/vhd/build.h"
#include "walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vd_err err = VD_ERR_INIT;
    struct image image;
    uint8_t *file;

    if (size < 1 || size > 1 << 16)
        return 0;
    file = malloc(size);
    if (!file)
        return 0;
    memcpy(file, data + 1, --size);
    if ((data[0] & 1) && size >= 512)
        vhd_seal_footer(file + size - 512, 512);
    if ((data[0] & 2) && size >= 512)
        vhd_seal_footer(file, 512);
    if ((data[0] & 4) && size >= 1536)
        vhd_seal_header(file + 512);
    if (open_bytes(&image_format_vhd, file, size, &image, &err) == 0)
        walk(image.dev);
    else if (!err.msg[0])
        abort();
    close_image(&image);
    free(file);
    return 0;
}
