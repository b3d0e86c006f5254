/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Readiness: poll, select, epoll.
 *
 * A wait that involves none of our sockets goes to the real function at once, after one
 * look at the table for each descriptor.  An epoll instance made here is known to the
 * library from birth, since a socket may join it at any time; a known instance inside a
 * poll set counts as ours, since its own readiness may come from our sockets.
 */
#include "base/copy.h"
#include "preload/call.h"

#include <string.h>

static int poll_involves(const struct pollfd *fds, nfds_t n)
{
	if (!fds || !afu_preload_active())
		return 0;
	for (nfds_t i = 0; i < n; i++) {
		int fd;

		/* the pointer may be bad, and then the kernel says so */
		if (afu_copy(&fd, &fds[i].fd, sizeof(fd)))
			return 0;
		if (afu_fd_known(fd))
			return 1;
	}
	return 0;
}

AFU_INTERPOSE(int, poll, struct pollfd *fds, nfds_t n, int timeout)
{
	if (poll_involves(fds, n))
		return AFU_OURS(poll, fds, n, timeout);
	return AFU_REAL(poll)(fds, n, timeout);
}
AFU_INTERPOSE_ALIAS(__poll, poll);

AFU_INTERPOSE(int, ppoll, struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
	if (poll_involves(fds, n))
		return AFU_OURS(ppoll, fds, n, timeout, mask);
	return AFU_REAL(ppoll)(fds, n, timeout, mask);
}

AFU_INTERPOSE(int, __poll_chk, struct pollfd *fds, nfds_t n, int timeout, size_t room)
{
	afu_preload_check(n, room / sizeof(*fds));
	return afu_preload_poll(fds, n, timeout);
}

AFU_INTERPOSE(int, __ppoll_chk, struct pollfd *fds, nfds_t n, const struct timespec *timeout,
	      const sigset_t *mask, size_t room)
{
	afu_preload_check(n, room / sizeof(*fds));
	return afu_preload_ppoll(fds, n, timeout, mask);
}

/* Programs pass sets larger than FD_SETSIZE, so the words count, not the type. */
static int set_involves(const fd_set *set, int n)
{
	const int bits = 8 * (int)sizeof(unsigned long);

	if (!set)
		return 0;
	for (int base = 0; base < n; base += bits) {
		unsigned long word;

		memcpy(&word, (const char *)set + base / 8, sizeof(word));
		for (; word; word &= word - 1) {
			int fd = base + __builtin_ctzl(word);

			if (fd < n && afu_fd_known(fd))
				return 1;
		}
	}
	return 0;
}

static int select_involves(int n, const fd_set *r, const fd_set *w, const fd_set *e)
{
	if (!afu_preload_active())
		return 0;
	return set_involves(r, n) || set_involves(w, n) || set_involves(e, n);
}

AFU_INTERPOSE(int, select, int n, fd_set *r, fd_set *w, fd_set *e, struct timeval *timeout)
{
	if (select_involves(n, r, w, e))
		return AFU_OURS(select, n, r, w, e, timeout);
	return AFU_REAL(select)(n, r, w, e, timeout);
}
AFU_INTERPOSE_ALIAS(__select, select);

AFU_INTERPOSE(int, pselect, int n, fd_set *r, fd_set *w, fd_set *e, const struct timespec *timeout,
	      const sigset_t *mask)
{
	if (select_involves(n, r, w, e))
		return AFU_OURS(pselect, n, r, w, e, timeout, mask);
	return AFU_REAL(pselect)(n, r, w, e, timeout, mask);
}

AFU_INTERPOSE(int, epoll_create, int size)
{
	if (afu_preload_active())
		return AFU_OURS(epoll_create, size);
	return AFU_REAL(epoll_create)(size);
}

AFU_INTERPOSE(int, epoll_create1, int flags)
{
	if (afu_preload_active())
		return AFU_OURS(epoll_create1, flags);
	return AFU_REAL(epoll_create1)(flags);
}

AFU_INTERPOSE(int, epoll_ctl, int epfd, int op, int fd, struct epoll_event *event)
{
	/* An instance that came from elsewhere is unknown until one of our sockets joins it. */
	if (afu_fd_known(epfd) || afu_fd_ours(fd))
		return AFU_OURS(epoll_ctl, epfd, op, fd, event);
	return AFU_REAL(epoll_ctl)(epfd, op, fd, event);
}

AFU_INTERPOSE(int, epoll_wait, int epfd, struct epoll_event *events, int n, int timeout)
{
	if (afu_fd_known(epfd))
		return AFU_OURS(epoll_wait, epfd, events, n, timeout);
	return AFU_REAL(epoll_wait)(epfd, events, n, timeout);
}

AFU_INTERPOSE(int, epoll_pwait, int epfd, struct epoll_event *events, int n, int timeout,
	      const sigset_t *mask)
{
	if (afu_fd_known(epfd))
		return AFU_OURS(epoll_pwait, epfd, events, n, timeout, mask);
	return AFU_REAL(epoll_pwait)(epfd, events, n, timeout, mask);
}

AFU_INTERPOSE(int, epoll_pwait2, int epfd, struct epoll_event *events, int n, const struct timespec *timeout,
	      const sigset_t *mask)
{
	if (afu_fd_known(epfd))
		return AFU_OURS(epoll_pwait2, epfd, events, n, timeout, mask);
	return AFU_REAL(epoll_pwait2)(epfd, events, n, timeout, mask);
}
