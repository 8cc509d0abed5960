# SPDX-License-Identifier: Apache-2.0
vd_unit_test(tree/node LIBRARIES vd_tree)
vd_unit_test(tree/names LIBRARIES vd_tree)
vd_unit_test(tree/timetext LIBRARIES vd_tree)
vd_unit_test(tree/case LIBRARIES vd_tree)
set(tree_fixture ${CMAKE_CURRENT_LIST_DIR}/fixture.c ${CMAKE_SOURCE_DIR}/tests/lib/fakefs.c)
foreach(name tree dir links info snapshots)
  vd_unit_test(tree/${name} SOURCES ${tree_fixture} LIBRARIES vd_tree)
endforeach()
