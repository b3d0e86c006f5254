/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * bind() and pathnames: the inode, what a name in use is, rename and unlink of a bound
 * path, permissions.  Abstract names and lengths are in addresses.c.
 */
#include "conform.h"

static void make_file(const char *path)
{
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);

	TRUE(fd >= 0);
	EQ(close(fd), 0);
}

CASE(bind_path_makes_socket_inode, 0)
{
	struct name a = path_name("a"), b = path_name("b");
	struct stat st;
	int fd = bound_to(SOCK_STREAM, &a);

	EQ(lstat("a", &st), 0);
	EQ(st.st_mode & S_IFMT, S_IFSOCK);
	EQ(st.st_mode & 0777, 0755);
	EQ(st.st_uid, geteuid());
	EQ(st.st_nlink, 1);
	umask(077);
	int other = bound_to(SOCK_STREAM, &b);
	EQ(lstat("b", &st), 0);
	EQ(st.st_mode & 0777, 0700);
	OK(close(fd));
	OK(close(other));
	EQ(unlink("a"), 0);
	EQ(unlink("b"), 0);
}

CASE(bind_path_is_left_by_close, 0)
{
	struct name a = path_name("a");
	struct stat st;

	EXPECT_LEFT("a");
	OK(close(bound_to(SOCK_STREAM, &a)));
	EQ(lstat("a", &st), 0);
	EQ(st.st_mode & S_IFMT, S_IFSOCK);
}

CASE(bind_path_any_existing_name_is_in_use, 0)
{
	static const char *const names[] = {"file", "dir",	"dir/", ".",   "..",
					    "/",    "dangling", "loop", "dead"};
	struct name dead = path_name("dead");
	int fd = unix_socket(SOCK_STREAM);

	make_file("file");
	EQ(mkdir("dir", 0755), 0);
	EQ(symlink("nowhere", "dangling"), 0);
	EQ(symlink("loop", "loop"), 0);
	OK(close(bound_to(SOCK_STREAM, &dead)));
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		struct name n = path_name(names[i]);

		FAILS(bind(fd, NAME(&n)), EADDRINUSE);
	}
	/* The failures left it unbound. */
	struct name good = path_name("good");
	OK(bind(fd, NAME(&good)));
	OK(close(fd));
	EQ(rmdir("dir"), 0);
	EQ(unlink("file"), 0);
	EQ(unlink("dangling"), 0);
	EQ(unlink("loop"), 0);
	EQ(unlink("dead"), 0);
	EQ(unlink("good"), 0);
}

CASE(bind_path_live_name_is_in_use, 0)
{
	struct name a = path_name("a");
	int one = bound_to(SOCK_STREAM, &a), two = unix_socket(SOCK_STREAM);

	FAILS(bind(two, NAME(&a)), EADDRINUSE);
	/* SO_REUSEADDR has no meaning here. */
	set_int_option(two, SO_REUSEADDR, 1);
	FAILS(bind(two, NAME(&a)), EADDRINUSE);
	OK(close(one));
	FAILS(bind(two, NAME(&a)), EADDRINUSE);
	EQ(unlink("a"), 0);
	OK(bind(two, NAME(&a)));
	OK(close(two));
	EQ(unlink("a"), 0);
}

CASE(bind_path_walk_errors, 0)
{
	static const struct {
		const char *path;
		int error;
	} table[] = {
		{"missing/a", ENOENT}, {"new/", ENOENT},       {"file/a", ENOTDIR},
		{"loop/a", ELOOP},     {"dangling/a", ENOENT},
	};
	int fd = unix_socket(SOCK_STREAM);

	make_file("file");
	EQ(symlink("loop", "loop"), 0);
	EQ(symlink("nowhere", "dangling"), 0);
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct name n = path_name(table[i].path);

		FAILS(bind(fd, NAME(&n)), table[i].error);
	}
	OK(close(fd));
	EQ(unlink("file"), 0);
	EQ(unlink("loop"), 0);
	EQ(unlink("dangling"), 0);
}

CASE(bind_path_in_removed_directory, 0)
{
	struct name a = path_name("a");
	int fd = unix_socket(SOCK_STREAM);

	EQ(mkdir("gone", 0755), 0);
	EQ(chdir("gone"), 0);
	EQ(rmdir("../gone"), 0);
	FAILS(bind(fd, NAME(&a)), ENOENT);
	FAILS(connect(fd, NAME(&a)), ENOENT);
	OK(close(fd));
}

CASE(bind_path_name_too_long_through_symlink, 0)
{
	static char target[300];
	struct name n = path_name("link/a");
	int fd = unix_socket(SOCK_STREAM);

	memset(target, 'x', 270);
	EQ(symlink(target, "link"), 0);
	FAILS(bind(fd, NAME(&n)), ENAMETOOLONG);
	FAILS(connect(fd, NAME(&n)), ENAMETOOLONG);
	OK(close(fd));
	EQ(unlink("link"), 0);
}

CASE(bind_twice, 0)
{
	struct name a = path_name("a"), b = path_name("b"), missing = path_name("missing/b");
	struct name one = abstract_name("one"), two = abstract_name("two");
	struct stat st;
	int fd = bound_to(SOCK_STREAM, &a), held = bound_to(SOCK_STREAM, &two);

	FAILS(bind(fd, NAME(&b)), EINVAL);
	/* The node that the walk had made is gone again. */
	FAILS(lstat("b", &st), ENOENT);
	/* What is wrong with the path comes before what is wrong with the socket... */
	FAILS(bind(fd, NAME(&a)), EADDRINUSE);
	FAILS(bind(fd, NAME(&missing)), ENOENT);
	/* ...but an abstract name is not looked at. */
	FAILS(bind(fd, NAME(&one)), EINVAL);
	FAILS(bind(fd, NAME(&two)), EINVAL);
	OK(close(held));
	OK(close(fd));
	EQ(unlink("a"), 0);
}

CASE(bind_wrong_descriptor, 0)
{
	struct name a = path_name("a");
	int p[2], fd = unix_socket(SOCK_STREAM);

	EQ(pipe(p), 0);
	FAILS(bind(p[0], NAME(&a)), ENOTSOCK);
	FAILS(bind(-1, NAME(&a)), EBADF);
	OK(close(fd));
	FAILS(bind(fd, NAME(&a)), EBADF);
	close(p[0]);
	close(p[1]);
}

/* The process becomes nobody for the case; root passes every permission check. */
CASE(path_permissions, 0)
{
	struct name in = path_name("closed/new"), held = path_name("closed/held"), node = path_name("node");
	struct name deep = path_name("sealed/in");

	if (geteuid() != 0)
		SKIP("needs root to become somebody else");
	EQ(mkdir("closed", 0755), 0);
	EQ(mkdir("sealed", 0700), 0);
	int l = listen_at(SOCK_STREAM, &node, 5), h = listen_at(SOCK_STREAM, &held, 5);
	int d = listen_at(SOCK_STREAM, &deep, 5), fd = unix_socket(SOCK_STREAM);
	EQ(chmod("node", 0755), 0);
	EQ(chmod("closed/held", 0666), 0);
	EQ(chmod(".", 0755), 0);
	EQ(seteuid(65534), 0);
	FAILS(bind(fd, NAME(&in)), EACCES);
	FAILS(bind(fd, NAME(&held)), EADDRINUSE);
	FAILS(bind(fd, NAME(&deep)), EACCES);
	/* To connect is to write to the inode. */
	FAILS(connect(fd, NAME(&node)), EACCES);
	FAILS(connect(fd, NAME(&deep)), EACCES);
	OK(connect(fd, NAME(&held)));
	EQ(seteuid(0), 0);
	OK(close(fd));
	OK(close(l));
	OK(close(h));
	OK(close(d));
	EQ(unlink("closed/held"), 0);
	EQ(unlink("sealed/in"), 0);
	EQ(unlink("node"), 0);
	EQ(rmdir("closed"), 0);
	EQ(rmdir("sealed"), 0);
}

CASE(path_permission_comes_before_kind, 0)
{
	struct name file = path_name("file"), dead = path_name("dead");

	if (geteuid() != 0)
		SKIP("needs root to become somebody else");
	make_file("file");
	OK(close(bound_to(SOCK_STREAM, &dead)));
	EQ(chmod(".", 0755), 0);
	int fd = unix_socket(SOCK_STREAM);
	FAILS(connect(fd, NAME(&file)), ECONNREFUSED);
	EQ(seteuid(65534), 0);
	FAILS(connect(fd, NAME(&file)), EACCES);
	FAILS(connect(fd, NAME(&dead)), EACCES);
	EQ(seteuid(0), 0);
	OK(close(fd));
	EQ(unlink("file"), 0);
	EQ(unlink("dead"), 0);
}

CASE(path_mode_may_be_changed_after_bind, 0)
{
	struct name a = path_name("a");

	if (geteuid() != 0)
		SKIP("needs root to become somebody else");
	EQ(chmod(".", 0755), 0);
	int l = listen_at(SOCK_STREAM, &a, 5), fd = unix_socket(SOCK_STREAM);
	EQ(chmod("a", 0777), 0);
	EQ(seteuid(65534), 0);
	OK(connect(fd, NAME(&a)));
	EQ(seteuid(0), 0);
	OK(close(fd));
	OK(close(l));
	EQ(unlink("a"), 0);
}

CASE(path_dead_file_refuses, 0)
{
	struct name a = path_name("a");
	int fd = unix_socket(SOCK_STREAM);

	OK(close(listen_at(SOCK_STREAM, &a, 5)));
	FAILS(connect(fd, NAME(&a)), ECONNREFUSED);
	EQ(unlink("a"), 0);
	FAILS(connect(fd, NAME(&a)), ENOENT);
	int l = listen_at(SOCK_STREAM, &a, 5);
	OK(connect(fd, NAME(&a)));
	OK(close(l));
	OK(close(fd));
	EQ(unlink("a"), 0);
}

CASE(path_rename_while_bound, 0)
{
	struct name a = path_name("a"), b = path_name("b");
	struct sockaddr_un un;
	socklen_t len = sizeof un;
	int l = listen_at(SOCK_STREAM, &a, 5), fd = unix_socket(SOCK_STREAM);

	EQ(rename("a", "b"), 0);
	FAILS(connect(fd, NAME(&a)), ENOENT);
	OK(connect(fd, NAME(&b)));
	/* The name is what bind() was given. */
	OK(getpeername(fd, ANY(&un), &len));
	EQ(len, a.len);
	BYTES(&un, &a.un, a.len);
	/* The old path is free for somebody else, the new one is not. */
	int other = unix_socket(SOCK_STREAM);
	FAILS(bind(other, NAME(&b)), EADDRINUSE);
	OK(bind(other, NAME(&a)));
	OK(close(OK(accept(l, NULL, NULL))));
	OK(close(other));
	OK(close(fd));
	OK(close(l));
	EQ(unlink("a"), 0);
	EQ(unlink("b"), 0);
}

CASE(path_unlink_while_bound, 0)
{
	struct name a = path_name("a");
	int old = listen_at(SOCK_STREAM, &a, 5);
	int early = connect_to(SOCK_STREAM, &a), fd = unix_socket(SOCK_STREAM);

	EQ(unlink("a"), 0);
	FAILS(connect(fd, NAME(&a)), ENOENT);
	int new = listen_at(SOCK_STREAM, &a, 5);
	OK(connect(fd, NAME(&a)));
	set_nonblocking(old, true);
	set_nonblocking(new, true);
	put(early, "early");
	put(fd, "late");
	/* The old listener keeps its queue; the path leads to the new one. */
	int x = OK(accept(old, NULL, NULL)), y = OK(accept(new, NULL, NULL));
	GETS(x, "early");
	GETS(y, "late");
	FAILS(accept(old, NULL, NULL), EAGAIN);
	FAILS(accept(new, NULL, NULL), EAGAIN);
	/* The death of the old one does not touch the new one's path. */
	OK(close(old));
	int again = connect_to(SOCK_STREAM, &a);
	OK(close(again));
	OK(close(x));
	OK(close(y));
	OK(close(early));
	OK(close(fd));
	OK(close(new));
	EQ(unlink("a"), 0);
}

CASE(path_links_lead_to_the_socket, 0)
{
	struct name a = path_name("a"), hard = path_name("hard"), soft = path_name("soft");
	int l = listen_at(SOCK_STREAM, &a, 5);

	EQ(link("a", "hard"), 0);
	EQ(symlink("a", "soft"), 0);
	int x = connect_to(SOCK_STREAM, &hard), y = connect_to(SOCK_STREAM, &soft);
	EQ(unlink("a"), 0);
	int z = connect_to(SOCK_STREAM, &hard), fd = unix_socket(SOCK_STREAM);
	FAILS(connect(fd, NAME(&soft)), ENOENT);
	OK(close(x));
	OK(close(y));
	OK(close(z));
	OK(close(fd));
	OK(close(l));
	EQ(unlink("hard"), 0);
	EQ(unlink("soft"), 0);
}

CASE(path_made_by_mknod_refuses, 0)
{
	struct name a = path_name("a");
	int fd = unix_socket(SOCK_STREAM);

	EQ(mknod("a", S_IFSOCK | 0777, 0), 0);
	FAILS(connect(fd, NAME(&a)), ECONNREFUSED);
	FAILS(bind(fd, NAME(&a)), EADDRINUSE);
	OK(close(fd));
	EQ(unlink("a"), 0);
}

CASE(path_is_relative_to_each_caller, 0)
{
	struct name a = path_name("a"), up = path_name("../d/a"), sub = path_name("d/a");
	struct sockaddr_un un;
	socklen_t len = sizeof un;

	EQ(mkdir("d", 0755), 0);
	EQ(mkdir("e", 0755), 0);
	int l = listen_at(SOCK_STREAM, &sub, 5);
	EQ(chdir("e"), 0);
	int fd = unix_socket(SOCK_STREAM);
	FAILS(connect(fd, NAME(&a)), ENOENT);
	FAILS(connect(fd, NAME(&sub)), ENOENT);
	OK(connect(fd, NAME(&up)));
	/* Not made absolute, and not that of the connector. */
	OK(getpeername(fd, ANY(&un), &len));
	EQ(len, sub.len);
	BYTES(&un, &sub.un, sub.len);
	EQ(chdir("../d"), 0);
	int other = connect_to(SOCK_STREAM, &a);
	EQ(chdir(".."), 0);
	OK(close(other));
	OK(close(fd));
	OK(close(l));
	EQ(unlink("d/a"), 0);
	EQ(rmdir("d"), 0);
	EQ(rmdir("e"), 0);
}

CASE(path_node_cannot_be_opened, 0)
{
	struct name a = path_name("a");
	int l = listen_at(SOCK_STREAM, &a, 5);

	FAILS(open("a", O_RDWR), ENXIO);
	FAILS(open("a", O_RDONLY), ENXIO);
	OK(close(l));
	EQ(unlink("a"), 0);
}

CASE(path_through_proc_self_fd, 0)
{
	struct name a = path_name("a");
	char text[64];
	int l = listen_at(SOCK_STREAM, &a, 5), o = open("a", O_PATH | O_CLOEXEC);

	TRUE(o >= 0);
	EQ(unlink("a"), 0);
	snprintf(text, sizeof text, "/proc/self/fd/%d", o);
	struct name proc = path_name(text);
	OK(close(connect_to(SOCK_STREAM, &proc)));
	OK(close(l));
	int fd = unix_socket(SOCK_STREAM);
	FAILS(connect(fd, NAME(&proc)), ECONNREFUSED);
	OK(close(fd));
	close(o);
}
