/* SPDX-License-Identifier: Apache-2.0 */
/* Split raw images: NAME.001, NAME.002 … (or from .000), as dd with split(1), FTK Imager and X-Ways
 * write them.  Internal to src/image. */
#ifndef VD_IMAGE_RAW_SPLIT_H
#define VD_IMAGE_RAW_SPLIT_H

#include "blk/evidence.h"

/* When `name` is the first piece of a split image and the second lies beside it: joins all pieces
 * and says so in `facts`; *out is the caller's.  Otherwise *out becomes NULL; a name that looks like
 * a piece without others is a warning.  A piece that is missing, or of another size than a piece can
 * have, is VD_ECORRUPT and named; a later piece is VD_EUNSUPPORTED and the first one named. */
int raw_split_join(struct blkdev *file, const char *name, const struct blk_source *source,
                   unsigned dir, struct blkdev **out, struct vd_facts *facts, struct vd_err *err);

#endif
