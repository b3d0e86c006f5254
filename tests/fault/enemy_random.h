/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#ifndef ENEMY_RANDOM_H
#define ENEMY_RANDOM_H

#include <stdint.h>

/* Makes requests until then.  -1: the broker is not to be had. */
int enemy_random(uint64_t seed, int64_t until_ns);

#endif
