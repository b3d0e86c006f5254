/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "library/signal.h"

#include "afunix/afunix.h"
#include "base/copy.h"
#include "base/lock.h"
#include "base/sys.h"
#include "base/thread.h"
#include "channel/waiter.h"
#include "library/async.h"
#include "library/domain.h"

#include <string.h>
#include <ucontext.h>

#define SIGNALS 65
#ifndef SA_RESTORER
#define SA_RESTORER 0x04000000
#endif

/* As the kernel takes it. */
struct kernel_action {
	void (*handler)(int, siginfo_t *, void *);
	unsigned long flags;
	void (*restorer)(void);
	uint64_t mask;
};

static struct {
	struct sigaction app; /* what the application asked for */
	int ours;             /* the trampoline is installed */
} actions[SIGNALS];
static struct afu_plock lock;

#if defined(__x86_64__)
/* The very bytes by which unwinders recognise a return from a signal handler. */
__asm__(".text\n"
	".p2align 4\n"
	"afu_signal_restore:\n"
	"	movq $15, %rax\n"
	"	syscall\n");
extern void afu_signal_restore(void) __attribute__((visibility("hidden")));
#define RESTORER afu_signal_restore
#define RESTORER_FLAG SA_RESTORER
#else
#define RESTORER NULL
#define RESTORER_FLAG 0
#endif

static int set_kernel(int sig, const struct kernel_action *act, struct kernel_action *old)
{
	return (int)afu_sys(SYS_rt_sigaction, sig, act, old, sizeof(uint64_t));
}

static int synchronous(int sig, const siginfo_t *info)
{
	return info->si_code > 0 &&
	       (sig == SIGSEGV || sig == SIGBUS || sig == SIGFPE || sig == SIGILL || sig == SIGTRAP || sig == SIGSYS);
}

static int fixed_up(int sig, ucontext_t *uc)
{
#if defined(__x86_64__)
	uintptr_t to;

	if (sig != SIGSEGV && sig != SIGBUS)
		return 0;
	to = afu_copy_fixup((uintptr_t)uc->uc_mcontext.gregs[REG_RIP]);
	if (!to)
		return 0;
	uc->uc_mcontext.gregs[REG_RIP] = (long long)to;
	return 1;
#else
	return 0;
#endif
}

static void put_off(int sig, siginfo_t *info, ucontext_t *uc)
{
	struct afu_thread *th = &afu_thread_self;
	uint64_t bit = UINT64_C(1) << (sig - 1), mask;

	/* blocked when the handler returns, until the section ends; sent again, so nothing is lost */
	memcpy(&mask, &uc->uc_sigmask, sizeof mask);
	mask |= bit;
	memcpy(&uc->uc_sigmask, &mask, sizeof mask);
	th->deferred_mask |= bit;
	atomic_store_explicit(&th->deferred, 1, memory_order_relaxed); /* read by this very thread */
	afu_sys(SYS_rt_tgsigqueueinfo, afu_sys(SYS_getpid), afu_sys(SYS_gettid), sig, info);
}

static void run(int sig, const struct sigaction *action, siginfo_t *info, void *context)
{
	struct afu_thread *th = &afu_thread_self;
	struct sigaction app = *action;
	uint32_t norestart = th->sig_norestart;
	int32_t bell = th->bell;

	afu_async_info(sig, info);
	if ((unsigned int)app.sa_flags & SA_RESETHAND) {
		struct sigaction dfl = { .sa_handler = SIG_DFL };

		afunix_sigaction(sig, &dfl, NULL);
	}
	if (app.sa_flags & SA_SIGINFO)
		app.sa_sigaction(sig, info, context);
	else
		app.sa_handler(sig);
	/* the handler may have made calls of its own */
	th->sig_norestart = norestart | (app.sa_flags & SA_RESTART ? 0u : 1u);
	th->bell = bell;
	atomic_fetch_add_explicit(&th->sig_seq, 1, memory_order_relaxed); /* read by this very thread */
	if (th->registered && bell >= 0)
		afu_bell_ring_handler(bell);
}

static int catches_faults(int sig)
{
	return sig == SIGSEGV || sig == SIGBUS;
}

static void trampoline(int sig, siginfo_t *info, void *context)
{
	/* one look: another thread may change it meanwhile */
	struct sigaction app = actions[sig].app;
	int plain = app.sa_handler == SIG_DFL || app.sa_handler == SIG_IGN;
	struct kernel_action dfl = { 0 };

	if (synchronous(sig, info)) {
		if (fixed_up(sig, context))
			return;
		if (plain) {
			set_kernel(sig, &dfl, NULL); /* the instruction faults again, and that is the end */
			return;
		}
	} else if (afu_thread_self.depth > 0) {
		put_off(sig, info, context);
		return;
	}
	if (!plain) {
		run(sig, &app, info, context);
	} else if (app.sa_handler == SIG_DFL && catches_faults(sig)) {
		/* sent by somebody, to a program that did not ask for it */
		set_kernel(sig, &dfl, NULL);
		afu_sys(SYS_rt_tgsigqueueinfo, afu_sys(SYS_getpid), afu_sys(SYS_gettid), sig, info);
	}
}

static int install(int sig, const struct sigaction *act)
{
	struct kernel_action k = { .handler = trampoline, .restorer = RESTORER };
	int plain = act->sa_handler == SIG_DFL || act->sa_handler == SIG_IGN;

	memcpy(&k.mask, &act->sa_mask, sizeof k.mask);
	k.flags = ((unsigned long)(unsigned int)act->sa_flags & ~(unsigned long)SA_RESETHAND) | SA_SIGINFO;
	k.flags |= RESTORER_FLAG;
	if (plain && !catches_faults(sig)) {
		k.handler = (void (*)(int, siginfo_t *, void *))(uintptr_t)act->sa_handler;
		k.flags &= ~(unsigned long)SA_SIGINFO;
	}
	if (plain && catches_faults(sig))
		k.flags |= SA_NODEFER | SA_ONSTACK;
	actions[sig].ours = !plain || catches_faults(sig);
	return set_kernel(sig, &k, NULL);
}

static void read_back(int sig, struct sigaction *old)
{
	struct kernel_action k;

	if (actions[sig].ours) {
		*old = actions[sig].app;
		return;
	}
	memset(old, 0, sizeof *old);
	if (set_kernel(sig, NULL, &k) < 0)
		return;
	old->sa_handler = (void (*)(int))(uintptr_t)k.handler;
	old->sa_flags = (int)(k.flags & ~(unsigned long)SA_RESTORER);
	memcpy(&old->sa_mask, &k.mask, sizeof k.mask);
}

int afunix_sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	struct afu_thread *th = &afu_thread_self;
	struct sigaction was, now;
	int err = 0;

	if (sig < 1 || sig >= SIGNALS || (act && (sig == SIGKILL || sig == SIGSTOP)))
		return (int)afu_return(-EINVAL);
	if (act)
		now = *act;
	afu_thread_enter(th);
	afu_plock_acquire(&lock);
	read_back(sig, &was);
	if (act) {
		int before = actions[sig].ours;

		/* the table first: the handler may be called before install() returns */
		actions[sig].app = now;
		if (!before && now.sa_handler != SIG_DFL && now.sa_handler != SIG_IGN)
			actions[sig].ours = 1;
		err = install(sig, &now);
	}
	afu_plock_release(&lock);
	afu_thread_leave(th);
	if (!err && old)
		*old = was;
	return (int)afu_return(err);
}

void afu_signal_start(void)
{
	static const int faults[] = { SIGSEGV, SIGBUS };

	for (unsigned int i = 0; i < 2; i++) {
		struct sigaction was;

		read_back(faults[i], &was);
		actions[faults[i]].app = was;
		install(faults[i], &was);
	}
}

void afu_signal_forked(void)
{
	lock = (struct afu_plock){ 0 };
}
