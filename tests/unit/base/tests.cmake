# SPDX-License-Identifier: Apache-2.0
vd_unit_test(base/charset LIBRARIES vd_base)
vd_unit_test(base/crc32c LIBRARIES vd_base)
vd_unit_test(base/err LIBRARIES vd_base)
vd_unit_test(base/text LIBRARIES vd_base)
