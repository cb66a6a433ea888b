/* version.c: the smallest program that uses an installed library. */
#include <shardyfusion/shardyfusion.h>

#include <stdio.h>
#include <string.h>

int main(void)
{
    printf("compiled against %s, runs with %s\n", SHARDY_VERSION, shardy_version());
    return strcmp(shardy_version(), SHARDY_VERSION) != 0;
}
