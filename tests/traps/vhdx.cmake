# SPDX-License-Identifier: Apache-2.0
vd_trap_tests(vhdx LIBRARIES vd_writers vd_vhdbuild TRAPS
  26_bitmap_entries_interleaved
  27_block_states
  28_partially_present
  29_pending_log
  30_which_header
  31_second_region_table
  32_what_must_be_known
  33_parent_linkage
  34_across_blocks)
