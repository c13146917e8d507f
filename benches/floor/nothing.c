/* Starting a process and nothing else: what no exec plugin can be quicker than. */
int main(void) { return 0; }
