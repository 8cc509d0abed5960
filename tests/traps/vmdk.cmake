# SPDX-License-Identifier: Apache-2.0
# Traps of VMDK descriptors, extents and chains.
vd_trap_tests(vmdk LIBRARIES vd_vmdkbuild
              TRAPS 01_flat_start_in_sectors 02_every_line_counts 08_descriptor_place
                    09_descriptor_text 10_cid 10_new_disks_share_a_cid 11_parent_hint
                    14_mixed_extents 15_short_extent_file 16_renamed_single_file
                    18_change_tracking_is_ignored 19_child_larger_than_parent)
