/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* What is executed as a program that can't be preloaded; its descriptors are what matters. */
int main(void)
{
	return 0;
}
