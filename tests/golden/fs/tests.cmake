# SPDX-License-Identifier: Apache-2.0
# Walks of whole file systems: the image corpus, and images made here by the usual tools.
add_library(vd_fs_walk STATIC ${CMAKE_CURRENT_LIST_DIR}/fs_walk.c)
target_include_directories(vd_fs_walk PUBLIC ${CMAKE_CURRENT_LIST_DIR})
target_link_libraries(vd_fs_walk PUBLIC vd_fs)

add_executable(fs_hash ${CMAKE_CURRENT_LIST_DIR}/fs_hash.c)
target_link_libraries(fs_hash PRIVATE vd_fs_walk)

find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_test(NAME golden/fs/corpus
         COMMAND Python3::Interpreter ${CMAKE_CURRENT_LIST_DIR}/corpus.py $<TARGET_FILE:fs_hash>
                 ${CMAKE_SOURCE_DIR}/../shared/corpus ${CMAKE_CURRENT_LIST_DIR}/expected.tsv)
add_test(NAME golden/fs/made
         COMMAND Python3::Interpreter ${CMAKE_CURRENT_LIST_DIR}/made.py $<TARGET_FILE:fs_hash>)
set_tests_properties(golden/fs/corpus golden/fs/made PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300)
