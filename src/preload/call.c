/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "preload/call.h"

#include "base/thread.h"

int afu_call_observed;

static int explaining, injecting;

/* Negative: the call is refused by an injection, errno says how.  Else the thread's last cause. */
static int begin(const struct afu_observed *o)
{
	struct afu_cause_state *last = &afu_thread_self.refusal;
	int before = last->cause, error = injecting && !o->kernel ? afu_inject(o) : 0;

	if (error) {
		errno = error;
		return -1;
	}
	/* a call that is refused without naming a cause must not be explained by an earlier one */
	last->cause = AFU_CAUSE_NONE;
	return before;
}

static void end(struct afu_observed *o, int begun, int refused)
{
	o->error = errno;
	o->injected = begun < 0;
	if (refused && explaining)
		afu_explain(o);
	if (begun >= 0 && afu_thread_self.refusal.cause == AFU_CAUSE_NONE)
		afu_thread_self.refusal.cause = (uint16_t)begun;
	errno = o->error;
}

#define NAMES_PICK(_1, _2, _3, _4, _5, _6, n, ...) n
#define NAMES(each, ...)                                                                                     \
	NAMES_PICK(__VA_ARGS__, NAMES_6, NAMES_5, NAMES_4, NAMES_3, NAMES_2, NAMES_1, 0)(each)
#define NAMES_1(each) each(a)
#define NAMES_2(each) each(a), each(b)
#define NAMES_3(each) each(a), each(b), each(c)
#define NAMES_4(each) each(a), each(b), each(c), each(d)
#define NAMES_5(each) each(a), each(b), each(c), each(d), each(e)
#define NAMES_6(each) each(a), each(b), each(c), each(d), each(e), each(f)
#define AS_WORD(x) (long)(x)
#define AS_IT_IS(x) x

#define RUN(ret, name, ...)                                                                                  \
	ret afu_run_##name(ret (*make)(__VA_ARGS__), int kernel, AFU_PARAMETERS(__VA_ARGS__))                \
	{                                                                                                    \
		struct afu_observed o = {                                                                    \
			.call = AFU_CALL_##name, .kernel = kernel, .arg = {NAMES(AS_WORD, __VA_ARGS__)}};    \
		int begun = begin(&o);                                                                       \
		ret result = begun < 0 ? -1 : make(NAMES(AS_IT_IS, __VA_ARGS__));                            \
                                                                                                             \
		end(&o, begun, result < 0);                                                                  \
		return result;                                                                               \
	}
AFU_CALL_LIST(RUN)

void afu_call_start(void)
{
	explaining = afu_explain_start();
	injecting = afu_inject_start();
	afu_call_observed = explaining || injecting;
}
