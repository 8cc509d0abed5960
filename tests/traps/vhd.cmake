# SPDX-License-Identifier: Apache-2.0
vd_trap_tests(vhd LIBRARIES vd_image vd_writers TRAPS
  20_size_by_creator
  21_differencing_is_not_dynamic
  22_sector_bitmap
  23_two_footers
  24_parent_names_and_identity
  25_split_files)
