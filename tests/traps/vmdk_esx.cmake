# SPDX-License-Identifier: Apache-2.0
# Traps of the sparse extents of ESX: COWD and seSparse.
vd_trap_tests(vmdk_esx LIBRARIES vd_esxbuild
              TRAPS 03_esx_entry_one 07_esx_short_last 12_cowd_tables_of_4096
                    12_cowd_directory_size 12_cowd_32_bit 12_cowd_union 13_sesparse_headers
                    13_sesparse_directory_entries 13_sesparse_grain_entries
                    13_sesparse_unmapped 13_sesparse_dirty 17_esx_64_bit)
