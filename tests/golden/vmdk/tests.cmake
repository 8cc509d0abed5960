# SPDX-License-Identifier: Apache-2.0
# VMDKs made by qemu-img, and those of the corpus.
add_executable(vmdk_image_check ${CMAKE_CURRENT_LIST_DIR}/image_check.c)
target_link_libraries(vmdk_image_check PRIVATE vd_image)

find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_test(NAME golden/vmdk/made
         COMMAND Python3::Interpreter ${CMAKE_CURRENT_LIST_DIR}/made.py $<TARGET_FILE:vmdk_image_check>)
add_test(NAME golden/vmdk/corpus
         COMMAND Python3::Interpreter ${CMAKE_CURRENT_LIST_DIR}/corpus.py $<TARGET_FILE:vmdk_image_check>
                 ${CMAKE_SOURCE_DIR}/../shared/corpus)
add_test(NAME golden/vmdk/esx
         COMMAND Python3::Interpreter ${CMAKE_CURRENT_LIST_DIR}/esx.py $<TARGET_FILE:vmdk_image_check>
                 $<TARGET_FILE:mkimage> ${CMAKE_SOURCE_DIR}/../shared/corpus)
add_test(NAME golden/vmdk/cut
         COMMAND Python3::Interpreter ${CMAKE_CURRENT_LIST_DIR}/cut.py $<TARGET_FILE:vmdk_image_check>
                 ${CMAKE_SOURCE_DIR}/../shared/corpus)
set_tests_properties(golden/vmdk/made golden/vmdk/corpus golden/vmdk/cut golden/vmdk/esx PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300)
