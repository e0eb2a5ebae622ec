/* Attributes that make the compiler check contracts. */
#pragma once

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(format_index, first_index) __attribute__((format(printf, format_index, first_index)))
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
