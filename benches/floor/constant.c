/* The quickest exec plugin that there can be: it prints its argument. */
#include <stdio.h>

int main(int count, char **arguments) { return count == 2 && puts(arguments[1]) >= 0 ? 0 : 1; }
