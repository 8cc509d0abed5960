# SPDX-License-Identifier: Apache-2.0
vd_unit_test(base/crc32c LIBRARIES vd_base)
