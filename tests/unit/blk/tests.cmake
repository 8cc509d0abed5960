# SPDX-License-Identifier: Apache-2.0
vd_unit_test(blk/made_cache LIBRARIES vd_blk)
vd_unit_test(blk/layers LIBRARIES vd_blk)
vd_unit_test(blk/evidence LIBRARIES vd_blk)
