/*
 * Compiler attributes under short names, so that declarations stay readable.
 */
#pragma once

#define PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define CLEANUP(fn)	  __attribute__((cleanup(fn)))
#define MUST_USE	  __attribute__((warn_unused_result))
#define UNUSED		  __attribute__((unused))
#define SENTINEL	  __attribute__((sentinel))
#define NORETURN	  __attribute__((noreturn))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
