/* The grammar: LALR(1), no conflicts. Expressions and the words of arguments share one rule and are
 * told apart when they are evaluated. */
%code requires {
#include "parser.h"
}

%define api.pure full
%define api.prefix {cnn_}
%define api.token.prefix {TOKEN_}
%define api.location.type {SourceRange}
%define parse.error custom
%define parse.lac full
%locations
%param {void *scanner} {Parser *parser}

%union {
    Value literal;
    Name name;
    SourceRange place;
    Expression *expression;
    ExpressionList expressions;
    Argument *argument;
    ArgumentList arguments;
    Unit *unit;
    UnitList units;
    NameList names;
    Range *range;
    Let *let;
    LetList lets;
    Statement *statement;
}

%code {
#include "syntax_error.h"

#include <string.h>

#define YYLLOC_DEFAULT(current, parts, count)                                                      \
    ((current) = (count) > 0 ? (SourceRange){YYRHSLOC(parts, 1).begin, YYRHSLOC(parts, count).end} \
                             : (SourceRange){YYRHSLOC(parts, 0).end, YYRHSLOC(parts, 0).end})

#define RESUME (yyerrok, parser->skipping = false)

int yylex(YYSTYPE *token, SourceRange *where, void *scanner, Parser *parser);
static void yyerror(SourceRange *where, void *scanner, Parser *parser, const char *message);
static Expression *checked(Parser *parser, Expression *expression);
static Unit *checked_unit(Parser *parser, Unit *unit);
static Expression *operation(Parser *parser, SourceRange where, Operator name, Expression *left,
                             Expression *right);
static Argument *new_argument(Parser *parser, SourceRange where, const Name *name,
                              Expression *value);
static Name *new_name(Parser *parser, Name name);
static Range *new_range(Parser *parser, SourceRange where, Expression *low, Expression *high,
                        ExpressionList items);
}

%token INPUT "'input'" NET "'net'" OUTPUT "'output'" LET "'let'" DEF "'def'" DEFAULT "'default'"
%token FOR "'for'" IN "'in'" IF "'if'" ELSE "'else'" TRAIN "'train'" DATA "'data'"
%token INCLUDE "'include'" AND "'and'" OR "'or'" NOT "'not'"
%token RANGE "'..'" LESS_EQUAL "'<='" GREATER_EQUAL "'>='" EQUAL "'=='" NOT_EQUAL "'!='"
%token <literal> INTEGER "an integer" NUMBER "a number" STRING "a string in double quotes"
%token <literal> DIMS "dimensions such as 3x3" BOOLEAN "true or false"
%token <name> NAME "a name"
%token END 0 "end of the file"

%left OR
%left AND
%precedence NOT
%nonassoc '<' '>' LESS_EQUAL GREATER_EQUAL EQUAL NOT_EQUAL
%left '+' '-'
%left '*' '/' '%'
%precedence UNARY
%right '^'

%type <expression> expression primary_expression call_expression extents bound item
%type <expressions> expressions items
%type <argument> argument setting
%type <arguments> arguments argument_list settings
%type <unit> chain unit primary group condition
%type <units> units branches
%type <names> names parameters
%type <range> range
%type <let> binding
%type <lets> bindings
%type <statement> statement

%%

file:
  %empty
| file statement { LIST_APPEND(&parser->statements, $statement); }
| file error
;

statement:
  input extents {
      $$ = ast_statement(parser->arena, STATEMENT_INPUT, @$);
      $$->value = $extents;
  }
| input NAME extents {
      $$ = ast_statement(parser->arena, STATEMENT_INPUT, @$);
      $$->name = $NAME.text;
      $$->name_where = $NAME.where;
      $$->value = $extents;
  }
| let bindings {
      $$ = ast_statement(parser->arena, STATEMENT_LET, @$);
      $$->lets = $bindings;
  }
| default NAME '(' arguments ')' {
      $$ = ast_statement(parser->arena, STATEMENT_DEFAULT, @$);
      $$->name = $NAME.text;
      $$->name_where = $NAME.where;
      $$->arguments = $arguments;
  }
| def NAME parameters '=' chain {
      $$ = ast_statement(parser->arena, STATEMENT_DEF, @$);
      $$->name = $NAME.text;
      $$->name_where = $NAME.where;
      $$->parameters = $parameters;
      $$->chain = $chain;
  }
| net '=' chain {
      $$ = ast_statement(parser->arena, STATEMENT_NET, @$);
      $$->name_where = @net;
      $$->chain = $chain;
  }
| net NAME '=' chain {
      $$ = ast_statement(parser->arena, STATEMENT_NET, @$);
      $$->name = $NAME.text;
      $$->name_where = $NAME.where;
      $$->chain = $chain;
  }
| output NAME '=' chain {
      $$ = ast_statement(parser->arena, STATEMENT_OUTPUT, @$);
      $$->name = $NAME.text;
      $$->name_where = $NAME.where;
      $$->chain = $chain;
  }
| train '{' settings '}' {
      $$ = ast_statement(parser->arena, STATEMENT_TRAIN, @$);
      $$->name_where = @train;
      $$->arguments = $settings;
  }
| data '{' settings '}' {
      $$ = ast_statement(parser->arena, STATEMENT_DATA, @$);
      $$->name_where = @data;
      $$->arguments = $settings;
  }
| include STRING {
      $$ = ast_statement(parser->arena, STATEMENT_INCLUDE, @$);
      $$->value = ast_literal(parser->arena, $STRING);
  }
;

/* Where a statement begins, errors are reported again after one that was skipped. */
input:    INPUT { RESUME; };
let:      LET { RESUME; };
default:  DEFAULT { RESUME; };
def:      DEF { RESUME; };
net:      NET { RESUME; };
output:   OUTPUT { RESUME; };
train:    TRAIN { RESUME; };
data:     DATA { RESUME; };
include:  INCLUDE { RESUME; };

extents:
  INTEGER { $$ = ast_literal(parser->arena, $1); }
| DIMS    { $$ = ast_literal(parser->arena, $1); }
;

bindings:
  binding              { $$ = (LetList){$1, $1}; }
| bindings ',' binding { $$ = $1; LIST_APPEND(&$$, $3); }
;

binding:
  NAME '=' expression {
      $$ = ARENA_NEW(parser->arena, Let);
      *$$ = (Let){.name = $NAME.text, .name_where = $NAME.where, .value = $expression};
  }
| NAME '=' expression IN range {
      $$ = ARENA_NEW(parser->arena, Let);
      *$$ = (Let){.name = $NAME.text, .name_where = $NAME.where, .value = $expression,
                  .range = $range};
  }
;

parameters:
  %empty        { $$ = (NameList){0}; }
| '(' names ')' { $$ = $names; }
;

names:
  NAME { Name *name = new_name(parser, $1); $$ = (NameList){name, name, 1}; }
| names ',' NAME { Name *name = new_name(parser, $3); $$ = $1; LIST_APPEND(&$$, name); $$.count++; }
;

settings:
  %empty           { $$ = (ArgumentList){0}; }
| settings setting { $$ = $1; LIST_APPEND(&$$, $2); $$.count++; }
;

/* A comma behind a setting says nothing more than the space does. */
setting:
  NAME '=' expression     { $$ = new_argument(parser, @$, &$NAME, $expression); }
| NAME '=' expression ',' { $$ = new_argument(parser, @$, &$NAME, $expression); }
;

chain:
  units {
      $$ = $1.first;
      if ($1.count > 1) {
          $$ = checked_unit(parser, ast_unit(parser->arena, UNIT_CHAIN, @$, $1));
      }
  }
;

units:
  unit           { $$ = (UnitList){$1, $1, 1}; }
| units '-' unit { $$ = $1; LIST_APPEND(&$$, $3); $$.count++; }
;

unit:
  primary
| unit '*' bound {
      $$ = checked_unit(parser, ast_postfix(parser->arena, UNIT_REPEAT, @$, $1));
      $$->expression = $bound;
      $$->name_where = @bound;
  }
| unit '?' {
      $$ = checked_unit(parser, ast_postfix(parser->arena, UNIT_OPTIONAL, @$, $1));
      $$->option = ++*parser->option_count;
      $$->name_where = @2;
  }
| unit '@' NAME {
      $$ = checked_unit(parser, ast_postfix(parser->arena, UNIT_LABEL, @$, $1));
      $$->name = $NAME.text;
      $$->name_where = (SourceRange){@2.begin, @NAME.end};
  }
| unit FOR names IN range {
      $$ = checked_unit(parser, ast_postfix(parser->arena, UNIT_FOR, @$, $1));
      $$->names = $names;
      $$->range = $range;
  }
;

primary:
  NAME {
      $$ = ast_unit(parser->arena, UNIT_CALL, @$, (UnitList){0});
      $$->name = $NAME.text;
  }
| NAME '(' arguments ')' {
      $$ = ast_unit(parser->arena, UNIT_CALL, @$, (UnitList){0});
      $$->name = $NAME.text;
      $$->name_where = $NAME.where;
      $$->has_arguments = true;
      $$->arguments = $arguments;
  }
| NAME '{' branches '}' {
      $$ = checked_unit(parser, ast_unit(parser->arena, UNIT_CALL, @NAME, $branches));
      $$->name = $NAME.text;
      $$->has_branches = true;
  }
| NAME '(' arguments ')' '{' branches '}' {
      SourceRange where = {@1.begin, @4.end};
      $$ = checked_unit(parser, ast_unit(parser->arena, UNIT_CALL, where, $branches));
      $$->name = $NAME.text;
      $$->name_where = $NAME.where;
      $$->has_arguments = true;
      $$->arguments = $arguments;
      $$->has_branches = true;
  }
| '@' NAME {
      $$ = ast_unit(parser->arena, UNIT_REFERENCE, @$, (UnitList){0});
      $$->name = $NAME.text;
  }
| '@' NAME '[' '*' ']' {
      $$ = ast_unit(parser->arena, UNIT_REFERENCE, @$, (UnitList){0});
      $$->name = $NAME.text;
      $$->all = true;
  }
| group
| condition
;

branches:
  chain              { $$ = (UnitList){$1, $1, 1}; }
| branches ',' chain { $$ = $1; LIST_APPEND(&$$, $3); $$.count++; }
;

group:
  '(' chain ')' { $$ = checked_unit(parser, ast_postfix(parser->arena, UNIT_CHAIN, @$, $chain)); }
| '[' chain ']' { $$ = checked_unit(parser, ast_postfix(parser->arena, UNIT_CHAIN, @$, $chain)); }
;

condition:
  IF '(' expression ')' group {
      $$ = checked_unit(parser, ast_postfix(parser->arena, UNIT_IF, @$, $group));
      $$->expression = $expression;
      $$->then_part = $group;
  }
| IF '(' expression ')' group[then] ELSE group[otherwise] {
      $then->next = $otherwise;
      UnitList parts = {$then, $otherwise, 2};
      $$ = checked_unit(parser, ast_unit(parser->arena, UNIT_IF, @$, parts));
      $$->expression = $expression;
      $$->then_part = $then;
      $$->else_part = $otherwise;
  }
| IF '(' expression ')' group[then] ELSE condition[otherwise] {
      $then->next = $otherwise;
      UnitList parts = {$then, $otherwise, 2};
      $$ = checked_unit(parser, ast_unit(parser->arena, UNIT_IF, @$, parts));
      $$->expression = $expression;
      $$->then_part = $then;
      $$->else_part = $otherwise;
  }
;

bound:
  INTEGER            { $$ = ast_literal(parser->arena, $1); }
| NUMBER             { $$ = ast_literal(parser->arena, $1); }
| NAME               { $$ = ast_name(parser->arena, $1.where, $1.text); }
| '(' expression ')' { $$ = $2; }
;

range:
  bound[low] RANGE bound[high] { $$ = new_range(parser, @$, $low, $high, (ExpressionList){0}); }
| '[' items ']'                { $$ = new_range(parser, @$, NULL, NULL, $items); }
;

items:
  item           { $$ = (ExpressionList){$1, $1, 1}; }
| items ',' item { $$ = $1; LIST_APPEND(&$$, $3); $$.count++; }
;

item:
  expression
| '(' expression ',' expressions ')' {
      ExpressionList parts = {$2, $2, 1};
      $2->next = $4.first;
      parts.last = $4.last;
      parts.count += $4.count;
      $$ = checked(parser, ast_list(parser->arena, EXPRESSION_TUPLE, @$, parts));
  }
;

expressions:
  expression                 { $$ = (ExpressionList){$1, $1, 1}; }
| expressions ',' expression { $$ = $1; LIST_APPEND(&$$, $3); $$.count++; }
;

arguments:
  %empty        { $$ = (ArgumentList){0}; }
| argument_list
;

argument_list:
  argument                   { $$ = (ArgumentList){$1, $1, 1}; }
| argument_list ',' argument { $$ = $1; LIST_APPEND(&$$, $3); $$.count++; }
;

argument:
  expression          { $$ = new_argument(parser, @$, NULL, $1); }
| NAME '=' expression { $$ = new_argument(parser, @$, &$NAME, $3); }
;

expression:
  primary_expression
| expression OR expression            { $$ = operation(parser, @$, OPERATOR_OR, $1, $3); }
| expression AND expression           { $$ = operation(parser, @$, OPERATOR_AND, $1, $3); }
| NOT expression                      { $$ = operation(parser, @$, OPERATOR_NOT, NULL, $2); }
| expression '<' expression           { $$ = operation(parser, @$, OPERATOR_LESS, $1, $3); }
| expression '>' expression           { $$ = operation(parser, @$, OPERATOR_GREATER, $1, $3); }
| expression LESS_EQUAL expression    { $$ = operation(parser, @$, OPERATOR_LESS_EQUAL, $1, $3); }
| expression GREATER_EQUAL expression {
      $$ = operation(parser, @$, OPERATOR_GREATER_EQUAL, $1, $3);
  }
| expression EQUAL expression         { $$ = operation(parser, @$, OPERATOR_EQUAL, $1, $3); }
| expression NOT_EQUAL expression     { $$ = operation(parser, @$, OPERATOR_NOT_EQUAL, $1, $3); }
| expression '+' expression           { $$ = operation(parser, @$, OPERATOR_ADD, $1, $3); }
| expression '-' expression           { $$ = operation(parser, @$, OPERATOR_SUBTRACT, $1, $3); }
| expression '*' expression           { $$ = operation(parser, @$, OPERATOR_MULTIPLY, $1, $3); }
| expression '/' expression           { $$ = operation(parser, @$, OPERATOR_DIVIDE, $1, $3); }
| expression '%' expression           { $$ = operation(parser, @$, OPERATOR_REMAINDER, $1, $3); }
| expression '^' expression           { $$ = operation(parser, @$, OPERATOR_POWER, $1, $3); }
| '-' expression %prec UNARY          { $$ = operation(parser, @$, OPERATOR_NEGATE, NULL, $2); }
;

primary_expression:
  INTEGER            { $$ = ast_literal(parser->arena, $1); }
| NUMBER             { $$ = ast_literal(parser->arena, $1); }
| BOOLEAN            { $$ = ast_literal(parser->arena, $1); }
| STRING             { $$ = ast_literal(parser->arena, $1); }
| DIMS               { $$ = ast_literal(parser->arena, $1); }
| NAME               { $$ = ast_name(parser->arena, $1.where, $1.text); }
| call_expression
| '@' NAME {
      $$ = ast_literal(parser->arena,
                       (Value){.kind = VALUE_LABEL, .where = @$, .as.string = $NAME.text});
  }
| '[' expressions ']' {
      $$ = checked(parser, ast_list(parser->arena, EXPRESSION_LIST, @$, $expressions));
  }
| '(' expression ')' { $$ = $2; }
;

call_expression:
  NAME '(' arguments ')' { $$ = checked(parser, ast_call(parser->arena, @$, $NAME, $arguments)); }
;

%%

static Diagnostic *nested_too_deeply(Parser *parser, SourceRange where) {
    return diagnostic_error(parser->diagnostics, where, "nested more than %d levels deep",
                            AST_DEPTH_LIMIT);
}

static Expression *checked(Parser *parser, Expression *expression) {
    if (expression->depth > AST_DEPTH_LIMIT) {
        nested_too_deeply(parser, expression->where);
        expression->depth = 1;
    }
    return expression;
}

static Unit *checked_unit(Parser *parser, Unit *unit) {
    if (unit->depth > AST_DEPTH_LIMIT) {
        nested_too_deeply(parser, unit->where);
        unit->depth = 1;
    }
    return unit;
}

static Expression *operation(Parser *parser, SourceRange where, Operator name, Expression *left,
                             Expression *right) {
    return checked(parser, ast_operation(parser->arena, name, where, left, right));
}

static Argument *new_argument(Parser *parser, SourceRange where, const Name *name,
                              Expression *value) {
    Argument *argument = ARENA_NEW(parser->arena, Argument);
    argument->where = where;
    argument->name_where = where;
    argument->value = value;
    if (name != NULL) {
        argument->name = name->text;
        argument->name_where = name->where;
    }
    return argument;
}

static Name *new_name(Parser *parser, Name name) {
    Name *copy = ARENA_NEW(parser->arena, Name);
    *copy = (Name){.text = name.text, .where = name.where};
    return copy;
}

static Range *new_range(Parser *parser, SourceRange where, Expression *low, Expression *high,
                        ExpressionList items) {
    Range *range = ARENA_NEW(parser->arena, Range);
    *range = (Range){.low = low, .high = high, .items = items, .where = where};
    return range;
}

/* Only for what bison itself reports: its stack is full. */
static void yyerror(SourceRange *where, void *scanner, Parser *parser, const char *message) {
    (void)scanner;
    (void)message;
    nested_too_deeply(parser, *where);
}

#define MAXIMUM_CHOICES 4

/* "'a', 'b' or 'c'"; nothing where more would be possible than help. */
static const char *choices_text(const yysymbol_kind_t *symbols, int count, Arena *arena) {
    const char *text = "";
    for (int i = 0; i < count && count <= MAXIMUM_CHOICES; i++) {
        const char *separator = i == 0 ? "" : i == count - 1 ? " or " : ", ";
        text = arena_format(arena, "%s%s%s", text, separator, yysymbol_name(symbols[i]));
    }
    return text;
}

static int yyreport_syntax_error(const yypcontext_t *context, void *scanner, Parser *parser) {
    (void)scanner;
    yysymbol_kind_t found = yypcontext_token(context);
    SourceRange where = *yypcontext_location(context);
    if (found == YYSYMBOL_YYEMPTY) {
        return 0;
    }
    const char *name = yysymbol_name(found);
    if (found == YYSYMBOL_NAME || found == YYSYMBOL_INTEGER || found == YYSYMBOL_NUMBER ||
        found == YYSYMBOL_DIMS || found == YYSYMBOL_BOOLEAN || found == YYSYMBOL_STRING) {
        name = arena_format(parser->arena, "'%.60s'",
                            source_text_of(parser->sources, where, parser->arena));
    }
    yysymbol_kind_t symbols[YYNTOKENS];
    int count = yypcontext_expected_tokens(context, symbols, YYNTOKENS);
    bool expected[YYMAXUTOK + 1] = {false};
    for (int token = 0; token <= YYMAXUTOK; token++) {
        for (int i = 0; i < count; i++) {
            expected[token] = expected[token] || YYTRANSLATE(token) == symbols[i];
        }
    }
    report_syntax_error(parser, where, name, expected,
                        choices_text(symbols, count, parser->arena));
    return 0;
}

/* A zero byte would end the text for everything that reads it later. */
static bool holds_zero_byte(Diagnostics *diagnostics, const SourceFile *file) {
    const char *zero = memchr(file->text, '\0', file->length);
    if (zero != NULL) {
        uint32_t position = file->begin + (uint32_t)(zero - file->text);
        diagnostic_error(diagnostics, (SourceRange){position, position + 1},
                         "the file holds a zero byte: it is not a text");
    }
    return zero != NULL;
}

StatementList parse_file(Sources *sources, Diagnostics *diagnostics, const SourceFile *file,
                         int *option_count) {
    Parser parser = {.arena = diagnostics_arena(diagnostics),
                     .sources = sources,
                     .diagnostics = diagnostics,
                     .file = file,
                     .position = file->begin,
                     .option_count = option_count};
    if (!holds_zero_byte(diagnostics, file)) {
        void *scanner = scanner_create(&parser);
        cnn_parse(scanner, &parser);
        scanner_free(scanner);
    }
    return parser.statements;
}
