# SPDX-License-Identifier: Apache-2.0
# Traps of hosted sparse and stream-optimized extents: grains, tables, footers.
vd_trap_tests(vmdk_grain LIBRARIES vd_vmdkbuild
              TRAPS 03_zeroed_grain_needs_its_flag 04_redundant_copies_are_compared
                    05_footer_wins 05_lost_footer_is_walked_around 06_compressed_grain_grows
                    06_compressed_grain_has_an_address 06_no_markers_no_address
                    07_short_ends_and_entries_behind 17_sectors_are_64_bit_offsets)
