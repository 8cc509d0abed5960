# SPDX-License-Identifier: Apache-2.0
# What stands beside the members of a chain.
vd_unit_test(image/vm_files LIBRARIES vd_image)
vd_unit_test(image/chain_search LIBRARIES vd_vmdkbuild)
vd_unit_test(image/chain_formats LIBRARIES vd_image vd_writers)
