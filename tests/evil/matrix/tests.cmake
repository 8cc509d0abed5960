# SPDX-License-Identifier: Apache-2.0
# Every structure of every image kind, broken in every way.  VDISKFS_MATRIX=full runs all cases.
add_executable(evil_matrix ${CMAKE_CURRENT_LIST_DIR}/matrix.c ${CMAKE_CURRENT_LIST_DIR}/fixtures.c)
target_link_libraries(evil_matrix PRIVATE vd_image vd_writers)
foreach(kind sparse sparse-plain stream stream-no-footer cowd sesparse extents vhd-fixed vhd-dynamic vhd-diff
        vhdx-fixed vhdx-dynamic vhdx-diff vhdx-log)
  add_test(NAME evil/matrix-${kind} COMMAND evil_matrix ${kind})
  set_tests_properties(evil/matrix-${kind} PROPERTIES TIMEOUT 300)
endforeach()
