// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

#ifndef CCRC32C_H
#define CCRC32C_H

#include <stddef.h>
#include <stdint.h>

// Continues a CRC-32C (Castagnoli) over `length` bytes; start with 0. Uses the processor's instruction where it has one.
uint32_t roost_crc32c(uint32_t crc, const void *bytes, size_t length);

// The same by table, for processors without the instruction and for the test that compares the two.
uint32_t roost_crc32c_table(uint32_t crc, const void *bytes, size_t length);

#endif
