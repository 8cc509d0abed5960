/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compressed grains.  VMware Virtual Disk Format 5.0, "Stream-Optimized Compressed Sparse Extents":
 * a grain is { u64 sector, u32 size, zlib data } on a sector boundary.  Files without the marker
 * flag have only the size in front.  The compressed form may be larger than the grain.
 *
 * libdeflate is several times faster than zlib but stricter about a few streams that zlib takes
 * (incomplete codes, window sizes): what the first rejects is given to the second, whose answer
 * counts.  Both write into a buffer of fixed size: a bomb ends there.
 */
#include "image/vmdk/grain.h"

#include "base/bytes.h"

#include <inttypes.h>
#include <libdeflate.h>
#include <zlib.h>

/* Deflate expands at worst by 5 bytes per stored block; encoders that waste more than half are
 * not known.  This bounds what is read for one grain. */
static uint64_t data_size_max(uint64_t grain_bytes)
{
    return grain_bytes + grain_bytes / 2 + 1024;
}

void vmdk_grain_header_decode(const uint8_t *bytes, bool markers, struct vmdk_grain_header *out)
{
    *out = (struct vmdk_grain_header){
        .has_lba = markers,
        .lba = markers ? vd_le64(bytes) : 0,
        .data_size = vd_le32(bytes + (markers ? 8 : 0)),
    };
}

int vmdk_grain_header_validate(const struct vmdk_grain_header *h, uint64_t lba,
                               uint64_t grain_bytes, struct vd_err *err)
{
    if (h->has_lba && h->lba != lba)
        return vd_fail(err, VD_ECORRUPT,
                       "the compressed grain is that of sector %" PRIu64 ", not of sector %" PRIu64,
                       h->lba, lba);
    if (h->data_size == 0 || h->data_size > data_size_max(grain_bytes))
        return vd_fail(err, VD_ECORRUPT,
                       "a compressed size of %" PRIu32 " bytes for a grain of %" PRIu64 " bytes",
                       h->data_size, grain_bytes);
    return 0;
}

static int inflate_with_zlib(const uint8_t *src, size_t src_len, uint8_t *dst, size_t max,
                             size_t *out_len, struct vd_err *err)
{
    z_stream z = {.avail_in = (uInt)src_len, .avail_out = (uInt)max, .next_out = dst};
    int rc;

    z.next_in = (z_const Bytef *)(uintptr_t)src; /* zlib's type lacks const, it does not write */
    if (inflateInit(&z) != Z_OK)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    rc = inflate(&z, Z_FINISH);
    (void)inflateEnd(&z);
    if (rc == Z_STREAM_END) {
        *out_len = max - z.avail_out;
        return 0;
    }
    if (rc == Z_MEM_ERROR)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    if (rc == Z_BUF_ERROR && z.avail_out == 0 && z.avail_in > 0)
        return vd_fail(err, VD_ECORRUPT, "the compressed grain inflates to more than %zu bytes",
                       max);
    return vd_fail(err, VD_ECORRUPT, "the compressed grain cannot be inflated (zlib %d)", rc);
}

int vmdk_grain_inflate(const uint8_t *src, size_t src_len, uint8_t *dst, size_t max,
                       size_t *out_len, struct vd_err *err)
{
    struct libdeflate_decompressor *d = libdeflate_alloc_decompressor();
    enum libdeflate_result result;
    size_t in = 0, n = 0;

    if (!d)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    result = libdeflate_zlib_decompress_ex(d, src, src_len, dst, max, &in, &n);
    libdeflate_free_decompressor(d);
    if (result == LIBDEFLATE_SUCCESS) {
        *out_len = n;
        return 0;
    }
    return inflate_with_zlib(src, src_len, dst, max, out_len, err);
}
