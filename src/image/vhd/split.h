/* SPDX-License-Identifier: Apache-2.0 */
/* Split VHD: Virtual PC 2004 and older cut an image at the largest file that the host could have, into
 * NAME.vhd, NAME.v01, NAME.v02 … in one directory. */
#ifndef VD_IMAGE_VHD_SPLIT_H
#define VD_IMAGE_VHD_SPLIT_H

#include "base/facts.h"
#include "blk/evidence.h"

/* "The maximum number of split files that can be present is 64." */
#define VHD_SPLIT_MAX 64

/* The longest file name, with its NUL. */
#define VHD_SPLIT_NAME 256

/* Does NAME.v01 lie beside the file `name` = NAME.vhd of directory `dir`?  `source` may be NULL: no. */
bool vhd_split_is_first(const struct blk_source *source, unsigned dir, const char *name);

/* Is `name` = NAME.vNN, beside NAME.vhd?  Then NAME.vhd is in `out_first`. */
bool vhd_split_is_later(const struct blk_source *source, unsigned dir, const char *name,
                        char out_first[VHD_SPLIT_NAME]);

/* Has `name` the form NAME.vNN? */
bool vhd_split_named_later(const char *name);

/* Joins the parts of the image whose first one is `file`.  *out is left alone (and the result 0) when
 * the image is not split: no NAME.v01, or the file ends in a footer of its own (then NAME.v01 is a
 * stranger, and that is said).  Refused: a missing or empty part, and a last part that does not end in
 * the image's footer.  That the parts are whole can be told only from the table or the disk's size:
 * the caller's.  Caller owns *out. */
int vhd_split_join(struct blkdev *file, const char *name, const struct blk_source *source,
                   unsigned dir, struct blkdev **out, struct vd_facts *facts, struct vd_err *err);

#endif
