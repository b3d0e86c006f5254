/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "base/cause.h"

#include "base/thread.h"

#include <errno.h>
#include <stddef.h>

const struct afu_cause_row afu_causes[AFU_CAUSES] = {
	[AFU_CAUSE_NONE] = {0, "NONE", "", "Nothing was refused."},
#define CAUSE(id, error, calls, text) [AFU_CAUSE_##id] = {error, #id, calls, text},
#include "base/causes.def"
#undef CAUSE
};

int afu_refuse(enum afu_cause cause)
{
	afu_thread_self.refusal.cause = (uint16_t)cause;
	afu_thread_self.refusal.error = (uint16_t)afu_causes[cause].error;
	afu_thread_self.refusal.detail[0] = 0;
	return -afu_causes[cause].error;
}

int afu_refuse_as(enum afu_cause cause, int error, const char *detail)
{
	struct afu_cause_state *to = &afu_thread_self.refusal;
	size_t n = 0;

	to->cause = (uint16_t)cause;
	to->error = (uint16_t)error;
	for (; detail && detail[n] && n + 1 < sizeof to->detail; n++)
		to->detail[n] = detail[n];
	to->detail[n] = 0;
	return -error;
}

int afu_refuse_path(int error, const char *path)
{
	static const uint8_t causes[] = {
		AFU_CAUSE_PATH_MISSING,	 AFU_CAUSE_PATH_NOT_DIRECTORY, AFU_CAUSE_PATH_LOOP,
		AFU_CAUSE_PATH_TOO_LONG, AFU_CAUSE_PATH_READ_ONLY,     AFU_CAUSE_PATH_NO_SPACE,
		AFU_CAUSE_PATH_QUOTA,	 AFU_CAUSE_PATH_SEARCH_DENIED, AFU_CAUSE_PATH_FORBIDDEN,
		AFU_CAUSE_NO_MEMORY,	 AFU_CAUSE_NO_DESCRIPTOR,      AFU_CAUSE_TABLE_FULL,
	};

	for (size_t i = 0; i < sizeof causes; i++) {
		if (afu_causes[causes[i]].error == error)
			return afu_refuse_as(causes[i], error, path);
	}
	return afu_refuse_as(AFU_CAUSE_FILESYSTEM, error, path);
}
