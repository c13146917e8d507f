/* Starts programs and says what that cost. It is small and has one thread, so that the start of a child
   costs as little as it can and the memory of this process is not taken for the child's.

     launch turns N PAUSE -- COMMAND [-- COMMAND ...]
         N rounds, each command once a round, the order turned with each, PAUSE microseconds after each;
         prints a line of nanoseconds a round
     launch pinned N PAUSE -- COMMAND [-- COMMAND ...]
         the same with all of them, and this program, on one processor
     launch lasting N PAUSE -- COMMAND [-- COMMAND ...]
         as turns, with this one process as the parent of all; for the others each command has a parent
         of its own, as an exec plugin has in each kubectl
     launch crowd N 0 -- COMMAND
         N at once; prints the nanoseconds until the last has ended
     launch peak N 0 -- COMMAND
         N one after another; prints the most memory that any had, in KiB

   Standard input and output of the children are /dev/null, their standard error is ours. A command may
   begin with NAME=VALUE words. Ends with 1, and says so, where a child fails. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { COMMANDS = 16, VARIABLES = 512 };

struct command {
    char **words;
    char *environment[VARIABLES];
};

extern char **environ;
static struct command commands[COMMANDS];
static posix_spawn_file_actions_t actions;

static void fail(const char *what) {
    fprintf(stderr, "launch: %s\n", what);
    exit(1);
}

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static pid_t start(struct command *command) {
    pid_t child;
    if (posix_spawn(&child, command->words[0], &actions, NULL, command->words, command->environment) != 0)
        fail(command->words[0]);
    return child;
}

static void finish(pid_t child, struct rusage *usage) {
    int status;
    if (wait4(child, &status, 0, usage) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail("a program did not end with 0");
}

/* Nanoseconds from the start of a command to its end. */
static long long timed(struct command *command) {
    long long began = now();
    finish(start(command), NULL);
    return now() - began;
}

/* The same with a parent that lives as long as the command does. */
static long long timed_by_another(struct command *command) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) fail("pipe2");
    pid_t parent = fork();
    if (parent < 0) fail("fork");
    if (parent == 0) {
        long long took = timed(command);
        _exit(write(ends[1], &took, sizeof took) == sizeof took ? 0 : 1);
    }
    close(ends[1]);
    long long took;
    if (read(ends[0], &took, sizeof took) != sizeof took) fail("a command was not timed");
    close(ends[0]);
    finish(parent, NULL);
    return took;
}

/* Our environment with a command's own words over it. */
static void prepare(struct command *command, char **words) {
    int count = 0;
    for (; words[0] && strchr(words[0], '='); words++)
        command->environment[count++] = words[0];
    int own = count;
    for (char **given = environ; *given; given++) {
        size_t name = strcspn(*given, "=") + 1;
        int is_over = 0;
        for (int i = 0; i < own; i++)
            is_over |= strncmp(command->environment[i], *given, name) == 0;
        if (is_over) continue;
        if (count == VARIABLES - 1) fail("too many variables");
        command->environment[count++] = *given;
    }
    command->words = words;
    if (!words[0]) fail("a command without a program");
}

/* Onto the last processor that we may use: the first has more of the machine's own work. */
static void pin(void) {
    cpu_set_t all, one;
    if (sched_getaffinity(0, sizeof all, &all) != 0) fail("sched_getaffinity");
    int last = CPU_SETSIZE - 1;
    while (last > 0 && !CPU_ISSET(last, &all)) last--;
    CPU_ZERO(&one);
    CPU_SET(last, &one);
    if (sched_setaffinity(0, sizeof one, &one) != 0) fail("sched_setaffinity");
}

int main(int argc, char **argv) {
    if (argc < 6) fail("usage: launch turns|pinned|lasting|crowd|peak N PAUSE -- COMMAND [-- COMMAND ...]");
    int many = atoi(argv[2]), pause = atoi(argv[3]), count = 0;
    for (int i = 4; i < argc; i++) {
        if (strcmp(argv[i], "--") != 0) continue;
        argv[i] = NULL;
        if (count == COMMANDS) fail("too many commands");
        count++;
    }
    for (int i = 4, at = 0; i < argc; i++)
        if (!argv[i]) prepare(&commands[at++], argv + i + 1);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);

    int pinned = strcmp(argv[1], "pinned") == 0, lasting = strcmp(argv[1], "lasting") == 0;
    if (pinned) pin();
    if (pinned || lasting || strcmp(argv[1], "turns") == 0) {
        for (int round = 0; round < many; round++) {
            long long took[COMMANDS];
            for (int i = 0; i < count; i++) {
                int at = (round + i) % count;
                took[at] = lasting ? timed(&commands[at]) : timed_by_another(&commands[at]);
            }
            for (int i = 0; i < count; i++) printf("%lld%c", took[i], i + 1 < count ? ' ' : '\n');
            if (pause) usleep(pause);
        }
    } else if (strcmp(argv[1], "crowd") == 0) {
        pid_t *children = calloc(many, sizeof *children);
        long long began = now();
        for (int i = 0; i < many; i++) children[i] = start(&commands[0]);
        for (int i = 0; i < many; i++) finish(children[i], NULL);
        printf("%lld\n", now() - began);
    } else if (strcmp(argv[1], "peak") == 0) {
        struct rusage usage;
        long most = 0;
        for (int i = 0; i < many; i++) {
            finish(start(&commands[0]), &usage);
            if (usage.ru_maxrss > most) most = usage.ru_maxrss;
        }
        printf("%ld\n", most);
    } else {
        fail("turns, pinned, lasting, crowd or peak");
    }
    return 0;
}
