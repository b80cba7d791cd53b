// Calculator answers one sum a line, such as "2 * 5", until "exit" or the end of its input.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

var (
	errForm     = errors.New("write two whole numbers with an operator between them, such as: 2 * 5")
	errOperator = errors.New("the operator is one of + - * /")
	errZero     = errors.New("nothing can be divided by zero")
)

func calculate(line string) (int, error) {
	parts := strings.Fields(line)
	if len(parts) != 3 {
		return 0, errForm
	}
	left, leftErr := strconv.Atoi(parts[0])
	right, rightErr := strconv.Atoi(parts[2])
	if leftErr != nil || rightErr != nil {
		return 0, errForm
	}
	switch parts[1] {
	case "+":
		return left + right, nil
	case "-":
		return left - right, nil
	case "*":
		return left * right, nil
	case "/":
		if right == 0 {
			return 0, errZero
		}
		return left / right, nil
	}
	return 0, errOperator
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "exit" {
			break
		}
		if result, err := calculate(line); err != nil {
			fmt.Println("error: " + err.Error())
		} else {
			fmt.Println(line + " = " + strconv.Itoa(result))
		}
	}
	fmt.Println("Goodbye.")
}
