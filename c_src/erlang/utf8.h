/*
 * utf8.h: is this UTF-8 as CPython decodes it (no surrogates, no overlong forms)?
 */
#ifndef ERLPY_UTF8_H
#define ERLPY_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool utf8_is_valid(const uint8_t *bytes, size_t size);

#endif
