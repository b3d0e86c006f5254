/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Names that a user means: * stands for any bytes, also slashes, ? for one. */
#ifndef AFU_LIBRARY_PATTERN_H
#define AFU_LIBRARY_PATTERN_H

/* Async-signal-safe. */
int afu_pattern_fits(const char *pattern, const char *name);

#endif
