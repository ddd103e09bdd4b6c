//! A statement with its aliases and positions resolved, and the columns that it reads.

use super::{
    SqlError,
    aggregate::is_aggregate,
    ast::{Call, Expr, Item, Select},
    functions::is_function,
    value::Value,
};

/// A statement with its aliases resolved.
pub(super) struct Plan<'a> {
    select: &'a Select,
    pub(super) group_by: Vec<Expr>,
    pub(super) having: Option<Expr>,
    pub(super) order_by: Vec<(Expr, bool)>,
    /// One row for each group.
    pub(super) grouped: bool,
    /// The columns to read; all when `None`.
    pub(super) columns: Option<Vec<String>>,
}

impl<'a> Plan<'a> {
    pub(super) fn of(select: &'a Select) -> Result<Self, SqlError> {
        let resolve = |expr: &Expr| resolve(expr, &select.items);
        let group_by = select.group_by.iter().map(|expr| {
            // `max(x) as x … group by x` means the column.
            let resolved = resolve(expr)?;
            Ok(if has_aggregate(&resolved) {
                expr.clone()
            } else {
                resolved
            })
        });
        let group_by: Vec<Expr> = group_by.collect::<Result<_, SqlError>>()?;
        let mut having = select.having.clone();
        if let Some(having) = &mut having {
            spell_out(having, &select.items);
        }
        let order_by = select
            .order_by
            .iter()
            .map(|(expr, descending)| Ok((resolve(expr)?, *descending)));
        let order_by: Vec<_> = order_by.collect::<Result<_, SqlError>>()?;
        let mut plan = Self {
            select,
            group_by,
            having,
            order_by,
            grouped: false,
            columns: None,
        };
        let all = select.items.contains(&Item::All);
        plan.grouped = !plan.group_by.is_empty() || plan.exprs().any(has_aggregate);
        if all && plan.grouped {
            return Err(SqlError::new("`*` cannot be selected with GROUP BY"));
        }
        for expr in plan.exprs().chain(&select.filter).chain(&plan.group_by) {
            check_functions(expr)?;
        }
        if let Some(filter) = &select.filter
            && has_aggregate(filter)
        {
            return Err(SqlError::new("WHERE cannot contain aggregations"));
        }
        if !all {
            let mut columns = Vec::new();
            for expr in plan.exprs().chain(&select.filter).chain(&plan.group_by) {
                expr.columns(&mut columns);
            }
            plan.columns = Some(columns);
        }
        Ok(plan)
    }

    fn exprs(&self) -> impl Iterator<Item = &Expr> {
        let items = self.select.items.iter().filter_map(|item| match item {
            Item::All => None,
            Item::One { expr, .. } => Some(expr),
        });
        let order_by = self.order_by.iter().map(|(expr, _)| expr);
        items.chain(&self.having).chain(order_by)
    }

    /// The names and expressions of what is selected, `*` spelt out.
    pub(super) fn selected(&self, all: &[String]) -> (Vec<String>, Vec<Expr>) {
        let mut selected = Vec::new();
        for item in &self.select.items {
            match item {
                Item::All => {
                    let column = |name: &String| (name.clone(), Expr::Column(name.clone()));
                    selected.extend(all.iter().map(column));
                }
                Item::One { expr, name, .. } => selected.push((name.clone(), expr.clone())),
            }
        }
        selected.into_iter().unzip()
    }
}

/// Says no to a function that is not known, before anything else is found wrong with it.
fn check_functions(expr: &Expr) -> Result<(), SqlError> {
    if let Expr::Call(Call { name, .. }) = expr
        && !is_aggregate(name)
        && !is_function(name)
    {
        let message = format!("function {name} is not supported");
        return Err(SqlError::new(message));
    }
    expr.parts().into_iter().try_for_each(check_functions)
}

pub(super) fn has_aggregate(expr: &Expr) -> bool {
    matches!(expr, Expr::Call(call) if is_aggregate(&call.name))
        || expr.parts().into_iter().any(has_aggregate)
}

/// What `expr` stands for when it is the position or the alias of an item.
fn resolve(expr: &Expr, items: &[Item]) -> Result<Expr, SqlError> {
    if let Expr::Literal(Value::Int(place)) = expr {
        let item = usize::try_from(*place - 1).ok();
        return match item.and_then(|at| items.get(at)) {
            Some(Item::One { expr, .. }) => Ok(expr.clone()),
            _ => Err(SqlError::new(format!(
                "{place} is no position of the SELECT list"
            ))),
        };
    }
    let mut resolved = expr.clone();
    spell_out(&mut resolved, items);
    Ok(resolved)
}

/// Replaces the aliases of items by what they stand for, except within aggregations, which are
/// made of columns.
fn spell_out(expr: &mut Expr, items: &[Item]) {
    if let Expr::Column(name) = &*expr {
        let aliased = items.iter().find_map(|item| match item {
            Item::One {
                expr,
                name: alias,
                aliased: true,
            } if alias == name => Some(expr),
            _ => None,
        });
        if let Some(aliased) = aliased {
            *expr = aliased.clone();
        }
    } else if !matches!(&*expr, Expr::Call(call) if is_aggregate(&call.name)) {
        for part in expr.parts_mut() {
            spell_out(part, items);
        }
    }
}
